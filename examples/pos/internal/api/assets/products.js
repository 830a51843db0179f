// Products with price and stock, and their changes.
import { $, t, el, api, list, money, count, amount, guard, newKey, pager, typed, say, start, wordsOf } from "./core.js";

let editing;
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
  editing = p;
  const f = $("edit-form");
  $("edit-title").textContent = t("editOf", { name: p.name });
  $("edit-problem").textContent = "";
  f.name.value = p.name;
  f.price.value = money(p.price).replace(/[^\d.,]/g, "").replace(/[.,](?=\d{3})/g, "");
  f.active.checked = p.active;
  f.change.value = f.reason.value = "";
  $("edit").showModal();
}

// stockNow returns a text with the stock after a change that received no response.
async function stockNow() {
  const found = await list("products/?" + new URLSearchParams({ all: 1, search: editing.sku })).catch(() => null);
  const now = found?.results.find((p) => p.id === editing.id);
  if (!now) return t("stockUnknown", { n: "?" });
  $("edit-form").change.value = "";
  await show();
  return t("stockUnknown", { n: count(now.stock) });
}

$("edit-cancel").addEventListener("click", () => $("edit").close());
$("edit-form").addEventListener("submit", guard(async (event) => {
  event.preventDefault();
  const f = $("edit-form"), price = amount(f.price.value), stock = f.change.value.trim();
  const problem = price === null ? t("eAmount", { example: money(1250) })
    : stock && !/^[+-]?\d{1,6}$/.test(stock) ? t("eNumber") : stock && !f.reason.value.trim() ? t("needReason") : "";
  $("edit-problem").textContent = problem;
  if (problem) return;
  try {
    const change = {};
    if (f.name.value !== editing.name) change.name = f.name.value;
    if (price !== editing.price) change.price = price;
    if (f.active.checked !== editing.active) change.active = f.active.checked;
    if (Object.keys(change).length) await api("PATCH", `products/${editing.id}/`, change);
    if (Number(stock)) await api("POST", `products/${editing.id}/stock/`, { change: Number(stock), reason: f.reason.value.trim() }, { key: newKey() });
  } catch (error) {
    $("edit-problem").textContent = error.unknown && Number(stock) ? await stockNow() : wordsOf(error);
    return;
  }
  $("edit").close();
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
