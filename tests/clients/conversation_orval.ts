// The first conversation of docs/tutorial.md, held by the functions that orval makes, over fetch.
import { completeTask, createTask, deleteTask, listTasks, logIn, register, syncTasks, updateTask } from "./orval/client.js";
import { Priority, Status } from "./orval/client.js";
import type { TaskCreate } from "./orval/client.js";

declare const process: { argv: string[] };
const [email] = process.argv.slice(3) as [string];
const password = "correct horse 9";
const id = "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d";

function expect<T>(found: T, wanted: T, about: string): void {
  if (found !== wanted) throw new Error(`${about}: ${String(found)}, not ${String(wanted)}`);
}

function known<A extends { status: number }, S extends A["status"]>(answer: A, status: S): Extract<A, { status: S }> {
  expect<number>(answer.status, status, "status");
  return answer as Extract<A, { status: S }>;
}

expect(known(await register({ email, password, full_name: "Ada" }), 201).data.role, "user", "role");
const signedIn = known(await logIn({ email, password }), 200).data;
const headers = { Authorization: `Bearer ${signedIn.access_token}` };

const draft: TaskCreate = { id, title: "Write to Charles", priority: Priority.HIGH, due_date: "2026-12-24" };
expect(known(await createTask(draft, { headers }), 201).data.due_date, "2026-12-24", "a whole day");
const completed = known(await completeTask(id, { completed: true }, {}, { headers }), 200).data;
expect(completed.status, Status.COMPLETED, "complete");
const page = known(await listTasks({ limit: 20, completed: true }, { headers }), 200).data;
expect(page.total, 1, "total");
expect(page.next_cursor, null, "next_cursor");

for (const change of known(await syncTasks({}, { headers }), 200).data.changes) {
  expect(change.deleted ? "nothing" : change.task.title, "Write to Charles", "sync");
}

const stale = await updateTask(id, { title: "x" }, {}, { headers: { ...headers, "If-Match": '"5"' } });
expect(known(stale, 412).data.type, "/problems/precondition-failed", "problem");
const refused = known(await createTask({ title: "" }, { headers }), 422).data;
if (refused.type !== "/problems/validation-error") throw new Error("not refused");
expect(refused.errors[0]?.field, "title", "the failing field");

known(await deleteTask(id, {}, { headers }), 204);
expect(known(await listTasks({}, { headers }), 200).data.total, 0, "nothing left");
console.log("held");
