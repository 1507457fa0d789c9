// Registers a user, logs in, and orders two pieces of the first product: what the test prints.
import createClient from 'openapi-fetch';
import type { components, paths } from './shop.js';

declare const process: { argv: string[] };

type Problem = components['schemas']['Problem'];

function expect<T>(result: { data?: T; error?: Problem }): T {
  if (result.data === undefined) {
    throw new Error(result.error?.detail ?? 'no data');
  }
  return result.data;
}

const client = createClient<paths>({ baseUrl: process.argv[2] ?? '' });
const password = 'correct horse battery staple';
const user = expect(
  await client.POST('/api/users', { body: { email: 'ts@example.com', name: 'Ada', password } }),
);
const token = expect(
  await client.POST('/api/users/login', { body: { email: user.email, password } }),
);
const headers = { Authorization: `Bearer ${token.access_token}` };
const page = expect(
  await client.GET('/api/products', { params: { query: { sort: 'price', limit: 5 } } }),
);
const product = page.items[0];
if (product === undefined) {
  throw new Error('nothing is for sale');
}
const order = expect(
  await client.POST('/api/orders', {
    headers,
    params: { header: { 'idempotency-key': 'first' } },
    body: { items: [{ product_id: product.id, quantity: 2 }] },
  }),
);
const missing = await client.GET('/api/orders/{order_id}', {
  headers,
  params: { path: { order_id: order.id + 1 } },
});
console.log(JSON.stringify({ order, missing: missing.error?.status }));
