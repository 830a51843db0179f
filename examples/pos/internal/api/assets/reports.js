// All sales of a range of business days, as pages and as files.
import { $, t, el, list, money, count, pager, start, time } from "./core.js";

function query(more) {
  const q = new URLSearchParams({ ordering: $("ordering").value, ...more });
  for (const id of ["from", "to"]) if ($(id).value) q.set(id, $(id).value);
  return "reports/sales/?" + q;
}

const show = pager(async (page) => {
  for (const format of ["csv", "ndjson"]) $(format).href = "/api/v1/" + query({ format });
  const found = await list(query({ page }));
  return {
    ...found, show: () => {
      $("count").textContent = t("rows", { n: count(found.count) });
      $("list").replaceChildren(...found.results.map((s) => el("tr", {},
        ...[String(s.id), time(s.created_at), money(s.total), s.card || t("cash"), s.cashier, s.voids ? String(s.voids) : ""].map((v) => el("td", {}, v)))));
    },
  };
});

$("find").addEventListener("submit", (event) => event.preventDefault());
$("find").addEventListener("change", () => show());
start({ manager: true, enter: () => show() });
