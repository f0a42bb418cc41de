// The values of every scenario for Express and Bun: the same constraints as the Python peers'.
import { z } from "zod";

export const Order = z.object({
  customer: z.string().min(1).max(80),
  email: z.string().min(3).max(120),
  sku: z.string().regex(/^[A-Z]{3}-[0-9]{4}$/),
  quantity: z.number().int().min(1).max(100),
  price: z.number().gt(0).lte(10000),
  currency: z.enum(["EUR", "SEK", "USD"]),
  tags: z.array(z.string().min(1).max(20)).max(8),
});

const flag = z.enum(["true", "false"]).transform((text) => text === "true");

export const OrderQuery = z.object({ priority: z.coerce.number().int().min(1).max(5), dry_run: flag });
export const FindQuery = z.object({
  q: z.string().min(1).max(50),
  limit: z.coerce.number().int().min(1).max(100),
  exact: flag.default(false),
});
export const FindPath = z.object({ id: z.coerce.number().int().min(1) });
export const TenantHeader = z.object({ "x-tenant": z.string().min(3).max(40) });
export const UserHeader = z.object({ "x-user": z.coerce.number().int().min(1) });

export const ITEMS = Array.from({ length: 100 }, (_, index) => {
  const n = index + 1;
  return { id: n, name: `item ${n}`, price: n + 0.25, in_stock: n % 3 !== 0, tags: ["garden", "sale"] };
});
