// Values that the till needs after a log-in, a reload or a crash. They are in the memory of this
// window and in the browser's storage, which may be full or denied. Other windows share the
// storage.
const memory = new Map(), unstored = new Set();

export function keep(place, value) {
  memory.set(place, value);
  try {
    localStorage.setItem(place, JSON.stringify(value));
    unstored.delete(place);
  } catch { unstored.add(place); }
}

function stored(place) {
  try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
}

// kept returns the value in memory. A new document, or one that another window has overtaken,
// reads the storage.
export const kept = (place) => (memory.has(place) ? memory.get(place) : stored(place));

function forget(place) {
  memory.delete(place);
  unstored.delete(place);
}

window.addEventListener("storage", (event) => { if (event.newValue !== null) forget(event.key); });

// overtaken reports whether another window has stored a value with another key. It does not wait
// for the storage event.
export function overtaken(place, key) {
  const other = stored(place);
  if (unstored.has(place) || !other || other.key === key) return false;
  forget(place);
  return true;
}
