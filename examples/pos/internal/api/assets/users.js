// Users, their sessions, and the audit log.
import { $, t, el, api, list, editor, guard, loads, newest, say, start, time, wordsOf } from "./core.js";

let next;
const dialog = editor((u) => u.username);

const show = newest(() => list("users/"), (found) => {
  $("list").replaceChildren(...found.results.map((u) => el("tr", {},
    el("td", {}, u.username), el("td", {}, t(u.role)), el("td", {}, t(u.active ? "enabled" : "disabled")),
    el("td", {}, el("button", { type: "button", ariaLabel: t("editOf", { name: u.username }), onclick: loads(() => edit(u)) }, t("edit"))))));
});

const path = (name) => `users/${encodeURIComponent(name)}/`;

const edit = newest((u) => list(path(u.username) + "sessions/"), (found, u) => {
  const f = $("edit-form");
  f.reset();
  f.role.value = u.role;
  f.active.checked = u.active;
  $("sessions").replaceChildren(...(found.results.length
    ? found.results.map((s) => el("li", {}, `${time(s.created_at)}, ${s.address}, ${s.agent.slice(0, 60)}`)) : [el("li", {}, t("noSessions"))]));
  dialog.open(u);
});

async function log(url, more) {
  const found = await list(url);
  const rows = found.results.map((a) => el("tr", {}, ...[time(a.created_at), a.user, a.action, a.subject, a.detail].map((v) => el("td", {}, v))));
  if (more) $("audit").append(...rows); else $("audit").replaceChildren(...rows);
  next = found.next && "audit/" + new URL(found.next, location).search;
  $("more").hidden = !next;
}

$("end-sessions").addEventListener("click", guard(async () => {
  const user = dialog.record();
  dialog.tell(user, await api("DELETE", path(user.username) + "sessions/").then(() => t("ended"), wordsOf));
}));
$("edit-form").addEventListener("submit", guard(async (event) => {
  event.preventDefault();
  const user = dialog.record(), f = $("edit-form"), change = {};
  if (f.role.value !== user.role) change.role = f.role.value;
  if (f.active.checked !== user.active) change.active = f.active.checked;
  if (f.password.value) change.password = f.password.value;
  try {
    if (Object.keys(change).length) await api("PATCH", path(user.username), change);
  } catch (error) {
    dialog.tell(user, wordsOf(error));
    return;
  }
  dialog.close(user);
  say(t("saved"));
  await Promise.all([show(), log("audit/")]);
}));
$("create").addEventListener("submit", guard(async () => {
  const f = $("create");
  await api("POST", "users/", { username: f.username.value.trim(), password: f.password.value, role: f.role.value });
  f.reset();
  say(t("saved"));
  await Promise.all([show(), log("audit/")]);
}));
$("more").addEventListener("click", guard(() => log(next, true)));
start({ manager: true, enter: () => Promise.all([show(), log("audit/")]) });
