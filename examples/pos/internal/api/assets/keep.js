// Values that the till needs after a log-in, a reload or a crash. They are in the memory of this
// window and in the browser's storage, which may be full or denied. Other windows share the
// storage.
const memory = new Map(), missing = new Set();

// keep stores a value. A full storage never keeps an older value: it gets the least that a new
// document needs, or nothing.
export function keep(place, value, least = value) {
  memory.set(place, value);
  missing.delete(place);
  if (stores(place, value)) return;
  try { localStorage.removeItem(place); } catch { /* denied */ }
  if (!stores(place, value) && !stores(place, least)) missing.add(place);
}

function stores(place, value) {
  try { localStorage.setItem(place, JSON.stringify(value)); return true; } catch { return false; }
}

// unstored reports whether a reload would lose the value.
export const unstored = (place) => missing.has(place);

function stored(place) {
  try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
}

// kept returns the value in memory. A new document, or one that another window has overtaken,
// reads the storage.
export const kept = (place) => (memory.has(place) ? memory.get(place) : stored(place));

function forget(place) {
  memory.delete(place);
  missing.delete(place);
}

export const salePlace = (user) => "pos.till." + user;

// drop removes a value that no other window needs.
export function drop(place) {
  forget(place);
  try { localStorage.removeItem(place); } catch { /* denied */ }
}

// dropSale empties the stored sale of a user at a log-out on a page without the till. A sale with a key
// stays, because its outcome is unknown. Other windows see the next number.
export function dropSale(user, number) {
  const sale = stored(salePlace(user)); // a till in another window may have changed it
  if (sale && !sale.key) keep(salePlace(user), { number, items: [] });
}

// otherWindow calls f with the place of a value that another window has stored.
export function otherWindow(f) {
  window.addEventListener("storage", (event) => {
    if (event.newValue === null) return; // removed from a full storage
    forget(event.key);
    f(event.key);
  });
}

// overtaken reports whether another window has stored another value than mine: one with another
// number or key. It does not wait for the storage event.
export function overtaken(place, mine) {
  const other = stored(place);
  if (missing.has(place) || !other || (other.key === mine.key && other.number === mine.number)) return false;
  forget(place);
  return true;
}
