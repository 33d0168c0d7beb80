// Asking the broker: JSON in and out, and failures as errors with a sentence for people.

const ROOT = "/console/api/";

export class ApiError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

export async function ask(path, query = {}, signal = undefined) {
  const parameters = new URLSearchParams(query).toString();
  return answer(fetch(`${ROOT}${path}${parameters ? `?${parameters}` : ""}`, { signal, headers: { accept: "application/json" } }));
}

export async function post(path, body, signal = undefined) {
  return answer(fetch(`${ROOT}${path}`, {
    method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  }));
}

export const traceUrl = (own) => `${ROOT}trace${own ? "?own=true" : ""}`;
export const topicPath = (topic, rest = "") => `topics/${encodeURIComponent(topic)}${rest}`;

async function answer(asked) {
  let response;
  try {
    response = await asked;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("NO_ANSWER", "The broker does not answer.");
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("NO_JSON", `The broker answers with status ${response.status}.`);
  }
  if (!response.ok) throw new ApiError(body.error, body.message);
  return body;
}
