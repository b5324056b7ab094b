// The first conversation of docs/tutorial.md, held by a client that was generated from the API's description.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
const [baseUrl, email] = process.argv.slice(2) as [string, string];
const password = "correct horse 9";
const id = "5f0c1c3e-8f1b-4c5e-9a52-3d1f7a1b2c3d";
const path = { task_id: id };

function expect<T>(found: T, wanted: T, about: string): void {
  if (found !== wanted) throw new Error(`${about}: ${String(found)}, not ${String(wanted)}`);
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("refused");
  return value;
}

const api = createClient<paths>({ baseUrl });

const profile = known((await api.POST("/api/v1/auth/register", { body: { email, password, full_name: "Ada" } })).data);
expect(profile.role, "user", "role");
const signedIn = known((await api.POST("/api/auth/signin", { body: { email, password } })).data);
expect(signedIn.user_id, profile.id, "user");
api.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${signedIn.token}`);
    return request;
  },
});
const mine = { user_id: profile.id };

const draft: components["schemas"]["TaskCreate"] = { id, title: "Write to Charles", priority: "HIGH", due_date: "2026-12-24" };
const created = await api.POST("/api/v1/tasks", { body: draft });
expect(created.response.status, 201, "create");
const task: components["schemas"]["Task"] = known(created.data);
expect(task.due_date, "2026-12-24", "a whole day");

const status: "TODO" | "IN_PROGRESS" | "COMPLETED" = known(
  (await api.PATCH("/api/v1/tasks/{task_id}/complete", { params: { path }, body: { completed: true } })).data,
).status;
expect(status, "COMPLETED", "complete");
const page = known((await api.GET("/api/v1/tasks", { params: { query: { limit: 20, completed: true } } })).data);
expect(page.total, 1, "total");
expect(page.next_cursor, null, "next_cursor");

const toggled = known((await api.PATCH("/api/tasks/{task_id}/complete", { params: { path } })).data);
expect(toggled.completed, false, "toggle");
const [camel] = known((await api.GET("/api/tasks")).data);
expect(camel?.dueDate, "2026-12-24", "dueDate");

const changed = known(
  (await api.PUT("/api/{user_id}/tasks/{task_id}", {
    params: { path: { ...mine, ...path } },
    body: { due_date: null, tags: ["letters"] },
  })).data,
);
expect(changed.tags[0], "letters", "tags");

const changes = known((await api.GET("/api/v1/sync")).data).changes;
for (const change of changes) {
  // `deleted` tells the two kinds apart: only one has a task.
  expect(change.deleted ? "nothing" : change.task.title, "Write to Charles", "sync");
}

await api.DELETE("/api/users/{user_id}/tasks/{task_id}", { params: { path: { ...mine, ...path } } });
expect(known((await api.GET("/api/users/{user_id}/tasks", { params: { path: mine } })).data).count, 0, "count");

const header = { "Idempotency-Key": "buy-stamps-1" };
const answers = [];
for (let attempt = 0; attempt < 2; attempt += 1) {
  answers.push(await api.POST("/api/v1/tasks", { params: { header }, body: { title: "Buy stamps" } }));
}
expect(known(answers[0]?.data).id, known(answers[1]?.data).id, "the same task twice");
expect(answers[1]?.response.headers.get("Idempotency-Replayed") ?? null, "true", "replayed");

const stamps = { task_id: known(answers[0]?.data).id };
const stale = await api.PATCH("/api/v1/tasks/{task_id}", {
  params: { path: stamps, header: { "If-Match": '"5"' } },
  body: { title: "Buy more stamps" },
});
expect(stale.response.status, 412, "stale");
expect(stale.error?.type, "/problems/precondition-failed", "problem");

const refused = await api.POST("/api/v1/tasks", { body: { title: "" } });
if (refused.error?.type !== "/problems/validation-error") throw new Error("not refused");
expect(refused.error.errors[0]?.field, "title", "the failing field");
console.log("held");
