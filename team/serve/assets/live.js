// Keeps the report's panels current and shows the run at this moment. The token comes after the # of the address, which a
// browser sends to nobody, and goes back in a header.
"use strict";
(() => {
  const { make, render, coloured } = teamReport;
  const KEY = "team-token";
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) { sessionStorage.setItem(KEY, given); history.replaceState(null, "", location.pathname); }
  let shown = "", waiting = false, busy = "";

  const headers = (more = {}) => { const token = sessionStorage.getItem(KEY); return token ? { ...more, Authorization: `Bearer ${token}` } : more; };
  const said = make("p", { class: "said", role: "status" });
  const state = make("span", { class: "state", id: "state" }, "connecting");
  const work = make("span", { id: "work" });
  const pause = make("button", { type: "button", id: "pause", onclick: () => act("pause") }, "Pause after this trial");
  const MAX_LISTED = 12;
  const resume = make("button", { type: "button", id: "resume", onclick: () => act("resume", trials.value ? { trials: Number(trials.value) } : {}) }, "Resume");
  const trials = make("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", id: "trials", size: "7", "aria-label": "New total of trials, left empty to keep it", placeholder: "total of trials" });
  const log = make("pre", { id: "log", tabindex: "0", "aria-label": "End of the trial's log" });
  const logOf = make("summary", {}, "Log of the newest trial");
  const logBox = make("details", { open: true }, logOf, log);
  const atWork = make("ul", { id: "at-work", class: "wide", hidden: true });
  const wish = make("input", { type: "text", id: "wish", maxlength: "1000", "aria-label": "A wish to the strategist", placeholder: "a wish to the strategist, such as: more on the readout" });
  const steer = make("form", { id: "steer", onsubmit: (event) => { event.preventDefault(); act("steer", { wish: wish.value }); wish.value = ""; } }, wish, make("button", { type: "submit" }, "Steer"));
  const question = make("div", { class: "bar", id: "question", hidden: true });
  let asked = "";
  const bar = make("div", { class: "bar" }, state, work, pause, resume, trials, steer, said);

  function tell(text, bad = false) { said.textContent = text; said.className = bad ? "said bad" : "said"; }
  async function act(name, body = {}) {
    busy = name;
    try {
      const answer = await fetch(`/do/${name}`, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
      const text = await answer.text();
      let words = text;
      try { words = JSON.parse(text).said; } catch { /* a refusal is plain text */ }
      tell(words, !answer.ok);
    } catch (error) { tell(`the page's server cannot be reached: ${error.message}`, true); }
    busy = "";
  }
  async function refresh(version) {
    if (version === shown || waiting || version === "0") return;
    waiting = true;
    try {
      const answer = await fetch("/payload", { headers: headers() });
      if (answer.ok) { const payload = await answer.json(); await render(payload); shown = payload.version; } else tell(await answer.text(), true);
    } finally { waiting = false; }
  }
  function ask(one) {
    const now = JSON.stringify(one);
    if (now === asked) return;
    asked = now;
    question.hidden = one === null;
    if (one === null) return;
    const why = make("input", { type: "text", id: "why", maxlength: "1000", "aria-label": "The reason", placeholder: "the reason, for reject and revise" });
    const button = (word, label) => make("button", { type: "button", id: word, onclick: () => act(word, { trial: one.trial, why: why.value }) }, label);
    question.replaceChildren(make("span", { class: "state" }, `Train trial ${one.trial}? ${one.title}`), button("approve", "Approve"), button("reject", "Reject"), button("revise", "Hand back to the coder"), why,
      make("p", { class: "said" }, [one.why, one.review].filter(Boolean).join(" Review: ")), make("div", { class: "wide" }, coloured(one.diff)));
  }
  function list(trials) {
    const text = trials.slice(0, MAX_LISTED).map((trial) => `trial ${trial.number}, ${trial.doing}${trial.title && ": "}${trial.title}`);
    if (trials.length > MAX_LISTED) text.push(`and ${trials.length - MAX_LISTED} more`);
    atWork.hidden = text.length === 0;
    atWork.replaceChildren(...text.map((line) => make("li", {}, line)));
  }
  function show(now) {
    ask(now.question);
    const several = now.trials.length > 1, these = several ? "these trials" : "this trial";
    state.textContent = { working: "at work", pausing: `pausing after ${these}`, stopped: "not at work" }[now.state] || now.state;
    work.textContent = several ? `${now.trials.length} trials` : now.trials.map((trial) => `trial ${trial.number}: ${trial.title}`).join("");
    pause.textContent = `Pause after ${these}`;
    list(several ? now.trials : []);
    logOf.textContent = several && now.log_of !== null ? `Log of trial ${now.log_of}` : "Log of the newest trial";
    pause.disabled = now.state !== "working" || busy !== "";
    resume.disabled = now.state === "working" || busy !== "";
    trials.disabled = now.state !== "stopped";
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = now.log.join("\n") || "nothing printed yet";
    if (atEnd) log.scrollTop = log.scrollHeight;
    if (now.trouble) tell(now.trouble, true);
    document.documentElement.dataset.state = now.state;
    refresh(now.version);
  }
  function askToken() {
    const field = make("input", { type: "password", id: "token", "aria-label": "Token", placeholder: "the token that team serve printed", autocomplete: "off" });
    const form = make("form", { onsubmit: (event) => { event.preventDefault(); sessionStorage.setItem(KEY, field.value); location.reload(); } }, field, make("button", { type: "submit" }, "Open"));
    document.getElementById("live").replaceChildren(make("div", { class: "bar" }, make("span", { class: "state" }, "This page wants a token."), form));
    document.documentElement.dataset.state = "refused";
  }
  async function listen() {
    for (;;) {
      try {
        const answer = await fetch("/events", { headers: headers() });
        if (answer.status === 401) { askToken(); return; }
        if (!answer.ok) throw new Error(await answer.text());
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          const parts = (rest + value).split("\n\n");
          rest = parts.pop();
          for (const part of parts) { const data = part.split("\n").find((line) => line.startsWith("data: ")); if (data) show(JSON.parse(data.slice(6))); }
        }
        throw new Error("the stream ended");
      } catch (error) {
        state.textContent = "the page's server is away";
        document.documentElement.dataset.state = "away";
        await new Promise((resolve) => { setTimeout(resolve, 1500); });
      }
    }
  }
  document.getElementById("live").replaceChildren(bar, question, make("div", { class: "bar" }, atWork, logBox));
  logBox.className = "wide";
  listen();
})();
