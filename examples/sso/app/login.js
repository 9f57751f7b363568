// Sign-in with a password: what sign-in with Google is to stand beside.
export async function login(email, password) {
  const answer = await fetch("/api/login", { method: "POST", body: JSON.stringify({ email, password }) });
  return answer.ok;
}
