// The first conversation of docs/tutorial.md, held by the client that @hey-api/openapi-ts makes: it sends the token itself.
import { client } from "./hey_api/client.gen.js";
import { completeTask, createTask, deleteTask, listTasks, logIn, register, syncTasks, updateTask } from "./hey_api/index.js";
import type { Priority, TaskCreate } from "./hey_api/index.js";

declare const process: { argv: string[] };
const [baseUrl, email] = process.argv.slice(2) as [string, string];
const password = "correct horse 9";
const path = { task_id: "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d" };
let token: string | undefined;

function expect<T>(found: T, wanted: T, about: string): void {
  if (found !== wanted) throw new Error(`${about}: ${String(found)}, not ${String(wanted)}`);
}

client.setConfig({ baseUrl, auth: () => token });

const profile = await register({ body: { email, password, full_name: "Ada" }, throwOnError: true });
expect(profile.data.role, "user", "role");
token = (await logIn({ body: { email, password }, throwOnError: true })).data.access_token;

const priority: Priority = "HIGH";
const draft: TaskCreate = { id: path.task_id, title: "Write to Charles", priority, due_date: "2026-12-24" };
const headers = { "Idempotency-Key": "write-1" };
const created = await createTask({ body: draft, headers, throwOnError: true });
expect(created.response.status, 201, "create");
expect(created.data.due_date, "2026-12-24", "a whole day");

const completed = await completeTask({ path, body: { completed: true }, throwOnError: true });
expect(completed.data.status, "COMPLETED", "complete");
const page = (await listTasks({ query: { limit: 20, completed: true }, throwOnError: true })).data;
expect(page.total, 1, "total");
expect(page.next_cursor, null, "next_cursor");

for (const change of (await syncTasks({ throwOnError: true })).data.changes) {
  expect(change.deleted ? "nothing" : change.task.title, "Write to Charles", "sync");
}

const stale = await updateTask({ path, body: { title: "x" }, headers: { "If-Match": '"5"' } });
expect(stale.response?.status, 412, "stale");
expect(stale.error?.type, "/problems/precondition-failed", "problem");

const refused = await createTask({ body: { title: "" } });
if (refused.error?.type !== "/problems/validation-error") throw new Error("not refused");
expect(refused.error.errors[0]?.field, "title", "the failing field");

await deleteTask({ path, throwOnError: true });
expect((await listTasks({ throwOnError: true })).data.total, 0, "nothing left");
console.log("held");
