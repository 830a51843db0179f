// The day: figures, charts and cashiers of a business day, compared with the week before.
import { $, t, el, api, money, count, clock, hour, newest, start, wordsOf, Failure } from "./core.js";
import { columns, bars } from "./chart.js";

const shift = (date, days) => {
  const d = new Date(date + "T00:00:00Z");
  d.setUTCDate(d.getUTCDate() + days);
  return d.toISOString().slice(0, 10);
};

// hoursOf returns a row for each hour with sales on one of two days. The days are beside each other by
// the time since they began. So an hour that summer time repeats has two rows, and a day that
// begins at 05:00 ends with the hours after midnight.
function hoursOf(day, before) {
  const rows = new Map(), length = 3_600_000, from = Date.parse(day.from);
  [day, before].forEach((d, k) => {
    for (const h of d.hours) {
      const at = Math.floor((Date.parse(h.at) - Date.parse(d.from)) / length);
      if (!rows.has(at)) rows.set(at, { name: hour(from + at * length + length - 60_000), values: [0, 0] }); // a day may begin at a quarter
      rows.get(at).values[k] += h.revenue;
    }
  });
  return [...rows].sort(([a], [b]) => a - b).map(([, row]) => row);
}

let chosen = "", seen = ""; // the date of the user, or today, and the time of the displayed figures
const load = newest(
  (date) => Promise.all([api("GET", `days/${date || "today"}/`)]).then(async ([day]) =>
    [day, await api("GET", `days/${shift(day.date, -7)}/`)]),
  ([day, before]) => {
    $("date").value = day.date;
    seen = clock(new Date());
    $("as-of").textContent = t("asOf", { time: seen });
    $("day-problem").textContent = "";
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
    const hours = hoursOf(day, before);
    $("hours").replaceChildren(...columns(hours.map(({ name, values }) => ({ name, values: [values[0]] })), [t("revenue")], money));
    let a = 0, b = 0; // added up over the day
    $("week").replaceChildren(...columns(hours.map(({ name, values }) => ({ name, values: [(a += values[0]), (b += values[1])] })),
      [t("thisDay"), t("lastWeek")], money));
    $("top").replaceChildren(...(day.products.length
      ? bars(day.products.slice(0, 8).map((p) => ({ name: p.name, value: Math.max(0, p.quantity), words: `${count(p.quantity)} · ${money(p.revenue)}` })), [t("product"), t("revenue")])
      : [el("p", {}, t("noSales"))]));
    $("cashiers").replaceChildren(...day.cashiers.map((c) => el("tr", {},
      ...[c.cashier, count(c.sales), money(c.revenue), money(c.cash), money(c.topup_amount)].map((v) => el("td", {}, v)))));
  });

const show = () => load(chosen).catch((error) => {
  if (error instanceof Failure) $("day-problem").textContent = wordsOf(error) + (seen && " " + t("asOf", { time: seen }));
});

$("choose").addEventListener("submit", (event) => event.preventDefault());
$("date").addEventListener("change", () => { chosen = $("date").value; show(); });
let timer;
start({
  manager: true,
  enter: (me) => {
    $("zone").textContent = t("zone", { zone: me.timezone });
    clearInterval(timer);
    timer = setInterval(() => { if (!document.hidden && !$("content").hidden) show(); }, 60_000);
    return show();
  },
  leave: () => { clearInterval(timer); chosen = seen = ""; },
});
