// The goods: tiles, search and scanner.
import { $, t, el, list, money, count, say, pager } from "./core.js";
import { till, add, drawPhase, locked, begin, track } from "./sale.js";
import { isCard, takeCard } from "./card.js";

let shown = []; // the products on the tiles

export const showProducts = pager(async (page) => {
  const query = new URLSearchParams({ page, page_size: 24, search: $("search").value.trim(), category: $("category").value });
  const found = await list("products/?" + query);
  return { ...found, show: () => draw(found.results) };
}, () => { $("goods-problem").textContent = t("goodsFailed"); });

function draw(products) {
  shown = products;
  $("goods-problem").textContent = "";
  const focused = $("products").contains(document.activeElement) && document.activeElement.dataset.id;
  $("products").replaceChildren(...products.map((product) => {
    const button = el("button", { type: "button", tabIndex: -1, "data-id": product.id, "data-stock": product.stock, onclick: () => add(product, 1) },
      el("span", {}, product.name), el("b", {}, money(product.price)), el("small", {}, product.stock ? t("left", { n: count(product.stock) }) : t("soldOut")));
    if (product.stock < 20) button.classList.add("low");
    return el("li", {}, button);
  }));
  drawPhase();
  const tiles = enabled();
  if (tiles.length) tiles[0].tabIndex = 0;
  if (focused) (tiles.find((b) => b.dataset.id === focused) || tiles[0] || $("search")).focus();
}

// setStock corrects a tile after the shop has refused a sale.
export function setStock(id, stock) { draw(shown.map((p) => (p.id === id ? { ...p, stock } : p))); }

export function clearProducts() { shown = []; $("products").replaceChildren(); }

// The tiles are one stop of the Tab key. The arrow keys move from tile to tile.
const enabled = () => [...$("products").querySelectorAll("button:enabled")];
$("products").addEventListener("keydown", (event) => {
  const tiles = enabled(), i = tiles.indexOf(document.activeElement);
  const perRow = Math.max(1, tiles.filter((b) => b.offsetTop === tiles[0].offsetTop).length);
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow }[event.key];
  const to = step && i >= 0 && tiles[i + step];
  if (!step) return;
  event.preventDefault();
  if (to) to.focus();
});
$("products").addEventListener("focusin", (event) => {
  for (const b of $("products").querySelectorAll("button")) b.tabIndex = b === event.target ? 0 : -1;
});

// scan takes the text out of the field at once, so that the next scan can begin before the shop
// responds. A scan belongs to the sale at which it began.
let scans = Promise.resolve();
export function scan() {
  const text = $("search").value.trim(), still = begin(), { user } = till.me;
  const refuse = (key) => {
    if (user === till.me.user && !$("content").hidden) $("scan-problem").textContent = t(key, { text });
    return false;
  };
  $("search").value = "";
  if (text && locked()) refuse("scanLocked");
  else if (text) scans = track(scans.then(() => scanned(text, still, refuse)).catch(() => refuse("scanFailed")));
  return scans;
}

// scanned adds the product with this SKU, or the only product that a search finds. If the text
// is a card number, it takes that card. It returns false if it did neither.
async function scanned(text, still, refuse) {
  const late = () => (!still() ? "scanLate" : locked() ? "scanLocked" : "");
  if (late()) return refuse(late());
  const found = await list("products/?" + new URLSearchParams({ search: text, page_size: 24 }));
  const product = found.results.find((p) => p.sku.toLowerCase() === text.toLowerCase()) || (found.count === 1 && found.results[0]);
  const card = !found.count && (await isCard(text));
  if (late()) return refuse(late());
  $("scan-problem").textContent = "";
  if (product && !product.stock) { say(t("eStock", { left: count(0), name: product.name }), true); return false; }
  if (product) { add(product, 1); return true; }
  if (card) { await takeCard(text); return true; }
  if (!$("search").value) {
    $("search").value = text;
    $("search").select(); // the next scan replaces it
  }
  say(t(found.count ? "chooseOne" : "noProduct", { text }), !found.count);
  await showProducts();
  return false;
}
