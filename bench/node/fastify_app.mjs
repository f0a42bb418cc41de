// Fastify with JSON Schema in (Ajv) and out (fast-json-stringify).
import Fastify from "fastify";

const app = Fastify({ logger: false });

const text = { type: "string" };
const integer = { type: "integer" };
const greeting = { type: "object", properties: { message: text } };
const user = { type: "object", properties: { id: integer, name: text } };
const item = {
  type: "object",
  properties: {
    id: integer,
    name: text,
    price: { type: "number" },
    in_stock: { type: "boolean" },
    tags: { type: "array", items: text },
  },
};

const ITEMS = Array.from({ length: 100 }, (_, index) => {
  const n = index + 1;
  return { id: n, name: `item ${n}`, price: n + 0.25, in_stock: n % 3 !== 0, tags: ["garden", "sale"] };
});

app.get("/hello", { schema: { response: { 200: greeting } } }, async () => ({ message: "Hello, world!" }));

const order = {
  type: "object",
  required: ["customer", "email", "sku", "quantity", "price", "currency", "tags"],
  properties: {
    customer: { type: "string", minLength: 1, maxLength: 80 },
    email: { type: "string", minLength: 3, maxLength: 120 },
    sku: { type: "string", pattern: "^[A-Z]{3}-[0-9]{4}$" },
    quantity: { type: "integer", minimum: 1, maximum: 100 },
    price: { type: "number", exclusiveMinimum: 0, maximum: 10000 },
    currency: { enum: ["EUR", "SEK", "USD"] },
    tags: { type: "array", maxItems: 8, items: { type: "string", minLength: 1, maxLength: 20 } },
  },
};

app.post(
  "/orders",
  {
    schema: {
      body: order,
      headers: {
        type: "object",
        required: ["x-tenant"],
        properties: { "x-tenant": { type: "string", minLength: 3, maxLength: 40 } },
      },
      querystring: {
        type: "object",
        required: ["priority", "dry_run"],
        properties: { priority: { type: "integer", minimum: 1, maximum: 5 }, dry_run: { type: "boolean" } },
      },
      response: {
        200: {
          type: "object",
          properties: {
            sku: text,
            quantity: integer,
            total: { type: "number" },
            currency: text,
            tenant: text,
            priority: integer,
            dry_run: { type: "boolean" },
          },
        },
      },
    },
  },
  async (req) => ({
    sku: req.body.sku,
    quantity: req.body.quantity,
    total: req.body.quantity * req.body.price,
    currency: req.body.currency,
    tenant: req.headers["x-tenant"],
    priority: req.query.priority,
    dry_run: req.query.dry_run,
  }),
);

app.get(
  "/items/:id",
  {
    schema: {
      params: { type: "object", properties: { id: { type: "integer", minimum: 1 } } },
      querystring: {
        type: "object",
        required: ["q", "limit"],
        properties: {
          q: { type: "string", minLength: 1, maxLength: 50 },
          limit: { type: "integer", minimum: 1, maximum: 100 },
          exact: { type: "boolean", default: false },
        },
      },
      response: {
        200: { type: "object", properties: { id: integer, q: text, limit: integer, exact: { type: "boolean" } } },
      },
    },
  },
  async (req) => ({ id: req.params.id, q: req.query.q, limit: req.query.limit, exact: req.query.exact }),
);

app.get("/objects", { schema: { response: { 200: { type: "array", items: item } } } }, async () => ITEMS);

app.decorateRequest("user", null);

app.get(
  "/me",
  {
    schema: {
      headers: {
        type: "object",
        required: ["x-user"],
        properties: { "x-user": { type: "integer", minimum: 1 } },
      },
      response: { 200: user },
    },
    preHandler: async (req) => {
      req.user = { id: req.headers["x-user"], name: `user ${req.headers["x-user"]}` };
    },
  },
  async (req) => req.user,
);

app.get("/awaits", { schema: { response: { 200: greeting } } }, async () => {
  await new Promise(setImmediate);
  return { message: "Hello, world!" };
});

await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
