"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const articles = [...document.querySelectorAll("article")];
  const status = document.getElementById("status");
  const command = document.getElementById("promote");
  let marks = {}, current = -1;

  function stored() {
    try { return JSON.parse(localStorage.getItem(data.key)) || {}; } catch { return {}; }
  }

  function keep() {
    // Browsers may forbid it for files; the marks then last as long as the page.
    try { localStorage.setItem(data.key, JSON.stringify(marks)); } catch { /* see above */ }
  }

  function go(index) {
    if (!articles.length) return;
    if (current >= 0) articles[current].classList.remove("current");
    current = Math.max(0, Math.min(articles.length - 1, index));
    articles[current].classList.add("current");
    articles[current].focus({ preventScroll: true });
    articles[current].scrollIntoView({ block: "nearest" });
    show();
  }

  function side(which) {
    document.body.dataset.show = which;
    for (const button of document.querySelectorAll("[data-side]"))
      button.setAttribute("aria-pressed", String(button.dataset.side === which));
  }

  function mark(index, right) {
    if (index < 0) return;
    const picture = data.rows[index].picture;
    if (marks[picture] === right) delete marks[picture]; else marks[picture] = right;
    keep();
    show();
  }

  function counts() {
    const sum = { a: 0, b: 0, neither: 0 };
    for (const row of data.rows) if (marks[row.picture] in sum) sum[marks[row.picture]] += 1;
    return sum;
  }

  function show() {
    articles.forEach((article, index) => {
      for (const button of article.querySelectorAll("[data-right]"))
        button.setAttribute("aria-pressed", String(marks[data.rows[index].picture] === button.dataset.right));
    });
    const sum = counts(), total = sum.a + sum.b + sum.neither;
    const place = current < 0 ? "" : `picture ${current + 1} of ${articles.length}; `;
    status.textContent = `${place}A right ${sum.a}, B right ${sum.b}, neither ${sum.neither}`;
    document.getElementById("save").disabled = total === 0;
    if (command && data.promote) command.textContent = `${data.promote} --reason ${quoted(reason())}`;
  }

  function reason() {
    const sum = counts(), total = sum.a + sum.b + sum.neither;
    const said = total ? `; marked by hand: A right ${sum.a}, B right ${sum.b}, neither ${sum.neither}` : "";
    return `${data.sentence}${said}`.slice(0, 500);
  }

  // The service's address where it shows this page; undefined where the page is a file.
  function service() {
    const found = /^(.*)\/models\/[^/]+\/versions\/[^/]+\/comparison$/.exec(location.pathname);
    return location.protocol !== "file:" && data.candidate ? found?.[1] : undefined;
  }

  async function activate() {
    const { model, version } = data.candidate, told = document.getElementById("activated");
    const token = document.getElementById("token").value;
    if (!window.confirm(`Promote ${model}:${version}? It answers from then on.`)) return;
    const path = `/api/v1/registry/models/${encodeURIComponent(model)}/${encodeURIComponent(version)}/activate`;
    const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
    told.textContent = "…";
    try {
      const answer = await fetch(service() + path, { method: "PUT", headers, body: JSON.stringify({ reason: reason() }) });
      const body = await answer.json();
      const serves = typeof body.serving === "number" ? `v${body.serving}` : body.serving;
      if (!answer.ok) told.textContent = body.error ? body.error.message : `the service answers ${answer.status}`;
      else if (serves === version) told.textContent = `${model}:${version} is production, and answers.`;
      else told.textContent = body.note;
    } catch (error) {
      told.textContent = `The service cannot be reached: ${error.message}`;
    }
  }

  function quoted(text) {
    return `'${text.replaceAll("'", `'"'"'`)}'`;
  }

  // What is wrong with an answer, in the words of `okawari annotate`.
  function annotations(row, right) {
    const wrong = right === "a" ? "b" : right === "b" ? "a" : null;
    const found = [];
    for (const change of row.changes) {
      if (!wrong) continue;
      const bad = change[wrong], good = change[right];
      const reports = (each, version) => each && each.score >= data[version].threshold;
      const bbox = (each) => each.bbox || undefined;
      if (reports(bad, wrong) && reports(good, right))
        found.push({ version: wrong, type: "wrong_label", label: good.label, bbox: bbox(bad) });
      else if (reports(bad, wrong))
        found.push({ version: wrong, type: "false_positive", label: bad.label, bbox: bbox(bad) });
      else if (reports(good, right))
        found.push({ version: wrong, type: "missed_detection", label: good.label, bbox: bbox(good) });
    }
    return found;
  }

  function document_() {
    const rows = data.rows.filter((row) => marks[row.picture]);
    return {
      format: 1, folder: data.folder, a: data.a, b: data.b,
      marks: rows.map((row) => {
        const right = marks[row.picture];
        const entry = { picture: row.picture, sha256: row.sha256, right };
        if (right !== "neither") entry.expected = row[right];
        return { ...entry, annotations: annotations(row, right) };
      }),
    };
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(document_(), null, 1)], { type: "application/json" }));
    link.download = "marks.json";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const keys = {
    j: () => go(current + 1), k: () => go(current - 1),
    1: () => side("a"), 2: () => side("b"), b: () => side("both"),
    a: () => mark(current, "a"), s: () => mark(current, "b"), x: () => mark(current, "neither"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "token" || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.key) keys[button.dataset.key]();
    else if (button.dataset.side) side(button.dataset.side);
    else if (button.id === "save") save();
    else if (button.id === "activate") activate();
    else if (button.dataset.right) {
      const index = articles.indexOf(button.closest("article"));
      if (index !== current) go(index);
      mark(index, button.dataset.right);
      button.focus({ preventScroll: true });
    }
  });

  if (service() !== undefined) document.getElementById("here").hidden = false;
  marks = stored();
  side("both");
  show();
})();
