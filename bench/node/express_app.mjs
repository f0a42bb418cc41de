// Express with Zod, which it leaves to the user.
import express from "express";
import { ITEMS, Order, OrderQuery, FindQuery, FindPath, TenantHeader, UserHeader } from "./schemas.mjs";

const app = express();
app.disable("x-powered-by");
app.use(express.json());

function parsed(schema, value, res) {
  const result = schema.safeParse(value);
  if (!result.success) res.status(422).json({ errors: result.error.issues });
  return result.data;
}

app.get("/hello", (req, res) => {
  res.json({ message: "Hello, world!" });
});

app.post("/orders", async (req, res) => {
  const order = parsed(Order, req.body, res);
  if (!order) return;
  const header = parsed(TenantHeader, req.headers, res);
  if (!header) return;
  const query = parsed(OrderQuery, req.query, res);
  if (!query) return;
  res.json({
    sku: order.sku,
    quantity: order.quantity,
    total: order.quantity * order.price,
    currency: order.currency,
    tenant: header["x-tenant"],
    priority: query.priority,
    dry_run: query.dry_run,
  });
});

app.get("/items/:id", async (req, res) => {
  const path = parsed(FindPath, req.params, res);
  if (!path) return;
  const query = parsed(FindQuery, req.query, res);
  if (!query) return;
  res.json({ id: path.id, q: query.q, limit: query.limit, exact: query.exact });
});

app.get("/objects", async (req, res) => {
  res.json(ITEMS);
});

async function currentUser(req, res, next) {
  const header = parsed(UserHeader, req.headers, res);
  if (!header) return;
  req.user = { id: header["x-user"], name: `user ${header["x-user"]}` };
  next();
}

app.get("/me", currentUser, async (req, res) => {
  res.json(req.user);
});

app.get("/awaits", async (req, res) => {
  await new Promise(setImmediate);
  res.json({ message: "Hello, world!" });
});

app.listen(Number(process.argv[2]), "127.0.0.1");
