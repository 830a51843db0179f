// Boot loads the script of the page. If a script does not arrive, the words of the empty page stay,
// and boot opens the page again as soon as the shop answers.
import(`./${document.body.className.replace("page-", "")}.js`).catch((error) => {
  console.error(error);
  const again = () => fetch(location.href, { signal: AbortSignal.timeout(5000) }).then((r) => r.ok && location.reload()).catch(() => {});
  setInterval(again, 5000);
});
