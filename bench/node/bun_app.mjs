// Bun's own server and router with Zod.
import { ITEMS, Order, OrderQuery, FindQuery, FindPath, TenantHeader, UserHeader } from "./schemas.mjs";

function refuse(...results) {
  return Response.json({ errors: results.flatMap((result) => result.error?.issues ?? []) }, { status: 422 });
}

function queryOf(req) {
  return Object.fromEntries(new URL(req.url).searchParams);
}

async function currentUser(req) {
  const header = UserHeader.safeParse({ "x-user": req.headers.get("x-user") ?? undefined });
  return header.success ? { id: header.data["x-user"], name: `user ${header.data["x-user"]}` } : null;
}

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  routes: {
    "/hello": { GET: () => Response.json({ message: "Hello, world!" }) },
    "/orders": {
      POST: async (req) => {
        let body;
        try {
          body = await req.json();
        } catch {
          return Response.json({ error: "no JSON" }, { status: 400 });
        }
        const order = Order.safeParse(body);
        const header = TenantHeader.safeParse({ "x-tenant": req.headers.get("x-tenant") ?? undefined });
        const query = OrderQuery.safeParse(queryOf(req));
        if (!order.success || !header.success || !query.success) return refuse(order, header, query);
        return Response.json({
          sku: order.data.sku,
          quantity: order.data.quantity,
          total: order.data.quantity * order.data.price,
          currency: order.data.currency,
          tenant: header.data["x-tenant"],
          priority: query.data.priority,
          dry_run: query.data.dry_run,
        });
      },
    },
    "/items/:id": {
      GET: async (req) => {
        const path = FindPath.safeParse(req.params);
        const query = FindQuery.safeParse(queryOf(req));
        if (!path.success || !query.success) return refuse(path, query);
        return Response.json({ id: path.data.id, ...query.data });
      },
    },
    "/objects": { GET: async () => Response.json(ITEMS) },
    "/me": {
      GET: async (req) => {
        const user = await currentUser(req);
        return user ? Response.json(user) : Response.json({ error: "x-user" }, { status: 422 });
      },
    },
    "/awaits": {
      GET: async () => {
        await new Promise(setImmediate);
        return Response.json({ message: "Hello, world!" });
      },
    },
  },
});
