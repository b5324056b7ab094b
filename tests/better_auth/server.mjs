// A Better Auth server as people set it up: e-mail and password, the jwt and bearer plugins, tables in PostgreSQL.
//
//   DATABASE_URL        where its tables are made
//   BETTER_AUTH_SECRET  what it signs with
//   JWT_ISSUER          what its tokens name as issuer and audience (default: its own address)
//
// Writes JSON lines to standard output: first {"port": …}, then {"email": …, "token": …} for each verification mail.
// Ends when its standard input does, so that it never outlives whoever started it.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";
import pg from "pg";

const { DATABASE_URL, BETTER_AUTH_SECRET, JWT_ISSUER } = process.env;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

process.stdin.resume().on("close", () => process.exit(0));

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address();
const baseURL = `http://127.0.0.1:${port}`;

const options = {
  baseURL,
  secret: BETTER_AUTH_SECRET,
  database: new pg.Pool({ connectionString: DATABASE_URL, max: 3 }),
  session: { modelName: "user_sessions" },
  emailAndPassword: { enabled: true },
  emailVerification: {
    sendOnSignUp: true,
    sendVerificationEmail: async ({ user, token }) => say({ email: user.email, token }),
  },
  plugins: [bearer(), jwt(JWT_ISSUER ? { jwt: { issuer: JWT_ISSUER, audience: JWT_ISSUER } } : {})],
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { log: (level, ...words) => console.error(level, ...words) },
};

await (await getMigrations(options)).runMigrations();
server.on("request", toNodeHandler(betterAuth(options)));
say({ port });
