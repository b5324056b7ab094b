const output = { target: "orval/client.ts", client: "fetch", baseUrl: process.env.BASE_URL };
module.exports = { todo: { input: "openapi.json", output } };
