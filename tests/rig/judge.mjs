// What GitHub's published OpenAPI description (openapi/github.json, made by openapi/trim.py) says of a request and its answer.
// tests/e2e/github_judge.rs judges the same for the tests that `cargo test` runs.
import { readFileSync } from 'node:fs';
import Ajv from 'ajv';

const { operations, definitions } = JSON.parse(readFileSync(new URL('./github.json', import.meta.url), 'utf8'));
const judge = options => { const ajv = new Ajv({ strict: false, allErrors: true, ...options }); ajv.addSchema({ $id: 'github', definitions }); return ajv; };
// The emulator answers with fields that GitHub does not describe: they are taken away, so that nobody comes to rely on them.
const ofRequests = judge({}), ofAnswers = judge({ removeAdditional: true });
const compile = (ajv, schema) => ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/definitions/', '"github#/definitions/')));
const known = Object.entries(operations).map(([name, it]) => {
  const [method, path] = name.split(' ');
  return { method, path: path.split('/'), ...it, check: {} };
});
const lazily = (it, key, schema, ajv = ofRequests) => (it.check[key] ??= compile(ajv, schema));
const errors = (what, check, value) => check(value) ? [] : check.errors.map(e => `${what} at \`${e.instancePath}\`: ${e.message} ${JSON.stringify(e.params)}`);

function find(method, path) {
  const segments = path.split('/'), free = it => it.path.filter(s => s.startsWith('{')).length;
  return known.filter(it => it.method === method && it.path.length === segments.length && it.path.every((s, i) => s.startsWith('{') || s === segments[i]))
    .sort((a, b) => free(a) - free(b))[0];
}

// Every mistake, as a line. What GitHub does not describe is taken out of the answer.
export function mistakes({ method, path, query, body, status, answer }) {
  // GitHub's other API has a description of another kind; the emulator judges the requests that it takes there itself.
  if (method === 'POST' && path === '/graphql') return [];
  const it = find(method, path), found = [];
  if (!it) return [`${method} ${path}: GitHub has no such operation`];
  for (const [name, value] of query) {
    const schema = it.query[name];
    if (!schema) { found.push(`the parameter ${name} is not declared`); continue; }
    const check = lazily(it, `query ${name}`, schema); let read = value; try { read = JSON.parse(value); } catch { /* a text */ }
    if (!check(read) && !check(value)) found.push(`the parameter ${name} may not be ${value}`);
  }
  for (const name of it.needs) if (!query.has(name)) found.push(`the parameter ${name} is missing`);
  if (it.body && body !== undefined) found.push(...errors('the body', lazily(it, 'body', it.body), body));
  else if (it.body && it.bodyRequired) found.push('the body: there is to be one');
  else if (!it.body && body !== undefined && JSON.stringify(body) !== '{}') found.push('the body: there is to be none');
  if (status >= 200 && status < 300) {
    const schema = it.answers[status];
    if (schema === undefined) found.push(`the answer: GitHub never answers ${status}`);
    else if (schema) found.push(...errors('the answer', lazily(it, `answer ${status}`, schema, ofAnswers), answer));
  }
  return found.map(what => `${method} ${path}: ${what}`);
}
