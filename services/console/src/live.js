// Looks at the page again from time to time and puts in place what has changed. What
// somebody has opened, chosen, typed or focused stays as it is, since elements that are
// the same in both are kept. Pages work without this.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const pause = document.getElementById("pause");
  const status = document.getElementById("live-status");
  if (!main || !pause || !status) return;

  const every = Number(main.dataset.live) * 1000;
  const limit = Math.max(10000, every * 3);
  let isPaused = false;
  try {
    isPaused = sessionStorage.getItem("paused") === "yes";
  } catch {
    // Without storage the choice lasts as long as the page.
  }

  // Said once for each change of it, so that a screen reader does not talk all the time.
  const say = (text) => {
    if (status.textContent !== text) status.textContent = text;
  };

  // What a person has set is not in the markup, and so is left alone.
  const isTheirs = (element, name) =>
    (name === "open" && element.localName === "details") ||
    ((name === "checked" || name === "value") && element.localName === "input");

  const sameKind = (a, b) =>
    a.nodeType === b.nodeType &&
    a.nodeName === b.nodeName &&
    (a.nodeType !== Node.ELEMENT_NODE || a.id === b.id);

  const become = (now, next) => {
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
      return;
    }
    for (const { name } of [...now.attributes]) {
      if (!next.hasAttribute(name) && !isTheirs(now, name)) now.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (now.getAttribute(name) !== value && !isTheirs(now, name)) now.setAttribute(name, value);
    }
    children(now, next);
  };

  const children = (now, next) => {
    let at = now.firstChild;
    for (const wanted of [...next.childNodes]) {
      let same = at;
      if (wanted.id) {
        // A row may have moved: it is looked for by its id among those that follow.
        while (same && !sameKind(same, wanted)) same = same.nextSibling;
      } else if (!(same && sameKind(same, wanted))) {
        same = null;
      }
      if (!same) {
        now.insertBefore(wanted, at);
        continue;
      }
      while (at !== same) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      at = same.nextSibling;
      become(same, wanted);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const look = async () => {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(limit),
    });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("main");
    // A cart that nobody knows yet is a page, too.
    if (answer.status >= 500 || !next) throw new Error(`the console answers ${answer.status}`);
    if (isPaused || document.hidden) return;
    children(main, next);
    // What has ended does not change any more.
    if (!next.hasAttribute("data-live")) {
      main.removeAttribute("data-live");
      pause.hidden = true;
      say("This does not change any more.");
    } else {
      say("Updates by itself.");
    }
  };

  const turn = async () => {
    if (!isPaused && !document.hidden) {
      try {
        await look();
      } catch (error) {
        say(`Not up to date: ${error.message}. Trying again.`);
      }
    }
    if (main.hasAttribute("data-live")) setTimeout(turn, every);
  };

  const show = () => {
    pause.setAttribute("aria-pressed", String(isPaused));
    say(isPaused ? "Paused." : "Updates by itself.");
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    try {
      sessionStorage.setItem("paused", isPaused ? "yes" : "no");
    } catch {
      // As above.
    }
    show();
  });

  pause.parentElement.hidden = false;
  show();
  setTimeout(turn, every);
})();
