// Fastify with node-postgres: its pool, named (prepared) statements, JSON Schema in (Ajv) and out (fast-json-stringify).
import Fastify from "fastify";
import pg from "pg";

const url = new URL(process.env.BENCH_DATABASE.replace("@/", "@localhost/"));
const pool = new pg.Pool({
  host: url.searchParams.get("host") ?? url.hostname,
  port: Number(url.searchParams.get("port") ?? url.port),
  user: url.username,
  database: url.pathname.slice(1),
  min: 10,
  max: 10,
  idleTimeoutMillis: 0,
});
const app = Fastify({ logger: false });

const text = { type: "string" };
const integer = { type: "integer" };
const greeting = { type: "object", properties: { message: text } };
const post = { type: "object", properties: { id: integer, title: text, body: text, likes: integer } };

const ONE = "SELECT id, title, body, likes FROM posts WHERE id = $1";
const MANY = "SELECT id, title, body, likes FROM posts ORDER BY id LIMIT $1";
const INSERT = "INSERT INTO posts (title, body) VALUES ($1, $2) RETURNING id, title, body, likes";

app.get("/hello", { schema: { response: { 200: greeting } } }, async () => ({ message: "Hello, world!" }));

app.get(
  "/posts/:id",
  { schema: { params: { type: "object", properties: { id: integer } }, response: { 200: post } } },
  async (request, reply) => {
    const { rows } = await pool.query({ name: "one", text: ONE, values: [request.params.id] });
    return rows.length ? rows[0] : reply.code(404).send({ message: `no post ${request.params.id}` });
  },
);

app.get(
  "/posts",
  {
    schema: {
      querystring: {
        type: "object",
        required: ["limit"],
        properties: { limit: { type: "integer", minimum: 1, maximum: 100 } },
      },
      response: { 200: { type: "array", items: post } },
    },
  },
  async (request) => (await pool.query({ name: "many", text: MANY, values: [request.query.limit] })).rows,
);

app.post(
  "/posts",
  {
    schema: {
      body: {
        type: "object",
        required: ["title", "body"],
        properties: { title: { type: "string", minLength: 1, maxLength: 200 }, body: text },
      },
      response: { 201: post },
    },
  },
  async (request, reply) => {
    const values = [request.body.title, request.body.body];
    const { rows } = await pool.query({ name: "insert", text: INSERT, values });
    return reply.code(201).send(rows[0]);
  },
);

await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
