// The access key of this page: taken from the address (#key=…), which forgets it at once, or typed in; kept until the
// browser's tab is closed, and sent with every request.

const NAME = "tidegate.key";
const inAddress = new URLSearchParams(location.hash.slice(1)).get("key");
if (inAddress !== null) {
  sessionStorage.setItem(NAME, inAddress);
  history.replaceState(null, "", location.pathname + location.search);
}

export class NoAccessError extends Error {}

export const currentKey = () => sessionStorage.getItem(NAME) ?? "";

export function useKey(key) {
  sessionStorage.setItem(NAME, key.trim());
}

// As `fetch`, with the key. Throws `NoAccessError` where the site does not take it.
export async function fetchWithKey(path, { headers = {}, ...options } = {}) {
  const key = currentKey();
  const sent = key ? { ...headers, authorization: `Bearer ${key}` } : headers;
  const response = await fetch(path, { ...options, headers: sent });
  if (response.status === 401) throw new NoAccessError(path);
  return response;
}
