// A change with a key: a sale, a top-up, a void or a change of a stock. It is made once, however often its request arrives. Its
// outcome is made, refused, or unknown. Only the shop's word ends an unknown one: what the key has
// made, or that the key is cancelled, so that a late request makes nothing.
import { api, session, sleep, Failure } from "./core.js";

const good = (made) => Number.isInteger(made?.id) && (Number.isInteger(made.total) || Number.isInteger(made.balance));

// asked reads what a key has made so far: {made}, {} if nothing, or null without a response.
export async function asked(path, key) {
  const mine = session.number;
  const answer = await api("GET", `${path}?key=${encodeURIComponent(key)}`, null, { patience: 5000 }).catch(() => null);
  if (!Array.isArray(answer?.results) || mine !== session.number) return null;
  if (!answer.results.length) return {};
  return good(answer.results[0]) ? { made: answer.results[0] } : null;
}

// cancelled ends a key: {made} if it was too late, {cancelled} if the key makes nothing any more, or
// null without a response.
export async function cancelled(key) {
  const answer = await api("POST", "keys/cancel/", { key }, { patience: 5000 }).catch(() => null);
  const made = answer?.sale || answer?.topup;
  if (good(made)) return { made };
  if (answer?.stock === true) return { made: answer };
  return answer?.cancelled === true ? { cancelled: true } : null;
}

// sent sends a change up to three times with the same key, and returns {made}, {refused: error}, or
// {} while the outcome is unknown. unsure means that an earlier request may still arrive. doubt
// runs when that becomes true.
export async function sent(path, { key, body, unsure }, doubt) {
  const mine = session.number;
  for (let attempt = 0; attempt < 3; attempt++) {
    if (attempt) await sleep(1000 * 2 ** attempt);
    if (mine !== session.number) break;
    try {
      const made = await api("POST", path, body, { key });
      if (!good(made)) throw new Failure(0);
      return { made, now: !made.replayed };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const used = error.status === 422; // by a request that this page has forgotten
      if (!error.unknown && !unsure && !used) return { refused: error };
      unsure = true;
      doubt(mine === session.number);
      if (mine !== session.number) break;
      if (used || error.status === 400 || error.status === 409) {
        const end = await cancelled(key);
        if (end) return end.made ? end : { refused: error };
      }
      if (!error.unknown) break;
      const end = await asked(path, key);
      if (end?.made) return end;
    }
  }
  return {};
}
