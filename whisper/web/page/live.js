"use strict";
// Everything that others wrote goes in as text; nothing is ever read as HTML.
const lines = document.getElementById("lines");
const peers = document.getElementById("peers");
const state = document.getElementById("state");
const trouble = document.getElementById("trouble");
const most = 500;

function put(parent, name, text, kind) {
  const e = document.createElement(name);
  e.textContent = text;
  if (kind) e.className = kind;
  parent.append(e, " ");
  return e;
}

function show(m) {
  const end = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const li = document.createElement("li");
  li.className = (m.own ? "own " : "") + (m.action ? "action" : "");
  put(li, "time", m.time || "");
  put(li, "b", m.who);
  if (m.proof) put(li, "span", "signed by " + m.proof, "proof").title = m.proof;
  if (m.forged) put(li, "span", "false signature", "forged");
  if (m.changed) put(li, "span", "with keys that are not known of it", "forged");
  put(li, "span", m.body, "body");
  if (m.file) put(li, "span", "file: " + m.file, "file");
  lines.append(li);
  while (lines.children.length > most) lines.firstElementChild.remove();
  if (end) lines.scrollTop = lines.scrollHeight;
}

function list(all) {
  peers.replaceChildren(...all.map((p) => {
    const li = document.createElement("li");
    if (p.up) li.className = "up";
    put(li, "code", p.addr);
    put(li, "span", p.ours ? "our kind" : "original format", "kind");
    for (const what of ["disconnect", "block"]) {
      put(li, "button", what).addEventListener("click", () => post("/peers", { do: what, addr: p.addr }));
    }
    return li;
  }));
}

async function post(path, fields) {
  trouble.textContent = "";
  try {
    const r = await fetch(path, { method: "POST", body: new URLSearchParams(fields), redirect: "manual" });
    if (r.status >= 400) trouble.textContent = await r.text();
    return r.status < 400;
  } catch {
    trouble.textContent = "the program does not answer";
    return false;
  }
}

function follow() {
  const ws = new WebSocket("ws://" + location.host + "/live");
  ws.onopen = () => { lines.replaceChildren(); state.textContent = "live"; };
  ws.onmessage = (e) => {
    const o = JSON.parse(e.data);
    if (o.line) show(o.line);
    if (o.peers) list(o.peers);
  };
  ws.onclose = () => { state.textContent = "not connected"; setTimeout(follow, 1000); };
}

document.getElementById("say").addEventListener("submit", async (e) => {
  e.preventDefault();
  const body = document.getElementById("body");
  if (await post("/say", { body: body.value })) body.value = "";
});
document.getElementById("connect").addEventListener("submit", async (e) => {
  e.preventDefault();
  const addr = document.getElementById("addr");
  if (await post("/peers", { do: "connect", addr: addr.value })) addr.value = "";
});
follow();
