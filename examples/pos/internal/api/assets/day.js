// The day: figures, charts and cashiers of a business day, compared with the week before.
import { $, t, el, api, money, count, loads, newest, start } from "./core.js";
import { columns, bars } from "./chart.js";

const shift = (date, days) => {
  const d = new Date(date + "T00:00:00Z");
  d.setUTCDate(d.getUTCDate() + days);
  return d.toISOString().slice(0, 10);
};

const show = newest(
  (date) => Promise.all([api("GET", `days/${date || "today"}/`)]).then(async ([day]) =>
    [day, await api("GET", `days/${shift(day.date, -7)}/`)]),
  ([day, before]) => {
    $("date").value = day.date;
    const figures = {
      [t("sales")]: count(day.sales), [t("revenue")]: money(day.revenue),
      [t("average")]: money(day.sales ? Math.round(day.revenue / day.sales) : 0),
      [t("cashAmount")]: money(day.cash), [t("cardSales")]: money(day.card),
      [t("topups")]: `${count(day.topups)} (${money(day.topup_amount)})`,
      [t("voids")]: `${count(day.voids.count + day.voids.topups)} (${money(day.voids.amount + day.voids.topup_amount)})`,
      [t("lastWeek")]: money(before.revenue),
    };
    $("figures").replaceChildren(...Object.entries(figures).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    const hours = [...new Set([...before.hours, ...day.hours].map((h) => h.hour))].sort();
    const of = (d) => Object.fromEntries(d.hours.map((h) => [h.hour, h.revenue]));
    const [now, then] = [of(day), of(before)];
    $("hours").replaceChildren(...columns(hours.map((h) => ({ name: h.slice(0, 2), values: [now[h] || 0] })), [t("revenue")], money));
    let a = 0, b = 0; // added up over the day
    $("week").replaceChildren(...columns(hours.map((h) => ({ name: h.slice(0, 2), values: [(a += now[h] || 0), (b += then[h] || 0)] })),
      [t("thisDay"), t("lastWeek")], money));
    $("top").replaceChildren(...(day.products.length
      ? bars(day.products.slice(0, 8).map((p) => ({ name: p.name, value: Math.max(0, p.quantity), words: `${count(p.quantity)} · ${money(p.revenue)}` })), [t("product"), t("revenue")])
      : [el("p", {}, t("noSales"))]));
    $("cashiers").replaceChildren(...day.cashiers.map((c) => el("tr", {},
      ...[c.cashier, count(c.sales), money(c.revenue), money(c.cash), money(c.topup_amount)].map((v) => el("td", {}, v)))));
  });

$("choose").addEventListener("submit", (event) => event.preventDefault());
$("date").addEventListener("change", loads(() => $("date").value && show($("date").value)));
let timer;
start({
  manager: true,
  enter: (me) => {
    $("zone").textContent = t("zone", { zone: me.timezone });
    clearInterval(timer);
    timer = setInterval(() => { if (!document.hidden && !$("content").hidden) show($("date").value).catch(() => {}); }, 60_000);
    return show();
  },
  leave: () => clearInterval(timer),
});
