// Products with price and stock, and their changes.
import { $, t, el, api, list, money, count, amount, editor, guard, newKey, pager, typed, say, session, start, wordsOf } from "./core.js";
import { drop, keep, kept } from "./keep.js";
import { cancelled } from "./outcome.js";

const dialog = editor((p) => p.name);
// The key of a stock change is kept until its outcome is known, also after a reload. Only its user can
// end a key.
const place = (product) => `pos.stock.${product.id}.${session.user}`;
const show = pager(async (page) => {
  const found = await list("products/?" + new URLSearchParams({ page, all: 1, search: $("search").value.trim(), category: $("category").value }));
  return { ...found, show: () => draw(found.results) };
});

function draw(products) {
  $("list").replaceChildren(...products.map((p) => el("tr", { className: p.active ? "" : "off" },
    el("td", {}, p.sku), el("td", {}, p.active ? p.name : `${p.name} (${t("inactive")})`), el("td", {}, money(p.price)),
    el("td", { className: p.stock < 20 ? "low" : "" }, count(p.stock)),
    el("td", {}, el("button", { type: "button", ariaLabel: t("editOf", { name: p.name }), onclick: () => edit(p) }, t("edit"))))));
}

function edit(p) {
  const f = $("edit-form");
  f.name.value = p.name;
  f.price.value = money(p.price).replace(/[^\d.,]/g, "").replace(/[.,](?=\d{3})/g, "");
  f.active.checked = p.active;
  f.change.value = f.reason.value = "";
  dialog.open(p);
}

// stockNow ends the key of a stock change that received no response, so that a late request changes
// nothing. It returns words with the outcome and the stock.
async function stockNow(product) {
  const where = place(product), end = await cancelled(kept(where));
  const found = await list("products/?" + new URLSearchParams({ all: 1, search: product.sku })).catch(() => null);
  const now = found?.results.find((p) => p.id === product.id), n = now ? count(now.stock) : "?";
  if (now) await show();
  if (!end) return t("stockUnknown", { n });
  drop(where);
  if (end.made && product === dialog.record()) $("edit-form").change.value = "";
  return t(end.made ? "stockMade" : "stockNotMade", { n });
}

$("edit-form").addEventListener("submit", guard(async (event) => {
  event.preventDefault();
  const product = dialog.record(), where = place(product), f = $("edit-form"), price = amount(f.price.value), stock = f.change.value.trim();
  const problem = price === null ? t("eAmount", { example: money(1250) })
    : stock && !/^[+-]?\d{1,6}$/.test(stock) ? t("eNumber") : stock && !f.reason.value.trim() ? t("needReason") : "";
  $("edit-problem").textContent = problem;
  if (problem) return;
  if (kept(where)) { dialog.tell(product, await stockNow(product)); return; }
  try {
    const change = {};
    if (f.name.value !== product.name) change.name = f.name.value;
    if (price !== product.price) change.price = price;
    if (f.active.checked !== product.active) change.active = f.active.checked;
    if (Object.keys(change).length) await api("PATCH", `products/${product.id}/`, change);
    if (Number(stock)) {
      keep(where, newKey());
      await api("POST", `products/${product.id}/stock/`, { change: Number(stock), reason: f.reason.value.trim() }, { key: kept(where) });
      drop(where);
    }
  } catch (error) {
    if (!error.unknown) drop(where);
    dialog.tell(product, kept(where) ? await stockNow(product) : wordsOf(error));
    return;
  }
  dialog.close(product);
  say(t("saved"));
  await show();
}));
$("find").addEventListener("submit", (event) => { event.preventDefault(); show(); });
typed($("search"), () => show());
$("category").addEventListener("change", () => show());
start({
  manager: true,
  async enter() {
    if ($("category").options.length < 2) {
      list("categories/").then((found) => $("category").append(...found.results.map((c) => new Option(c.name, c.id))), () => {});
    }
    await show();
  },
});
