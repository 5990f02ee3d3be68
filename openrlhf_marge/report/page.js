// Model output is only ever text of a node, and is put into the document when somebody opens it.
const data = JSON.parse(document.getElementById("data").textContent);
const LIST_PAGE = 100; // problems that the list grows by
const MAIN_CURVES = 4; // shown at once
const SNIPPET = 300; // characters of a completion before it is opened
const MARKS = { correct: "\u2713", incorrect: "\u2717" };
const shown = { found: [], listed: 0, problem: null };

// ---------------------------------------------------------------- nodes

function byId(id) {
  return document.getElementById(id);
}

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function button(attributes, onClick, ...children) {
  const node = el("button", { type: "button", ...attributes }, ...children);
  node.addEventListener("click", onClick);
  return node;
}

// Its body is made when it is opened for the first time.
function lazyDetails(attributes, summary, makeBody) {
  const node = el("details", attributes, el("summary", {}, ...summary));
  node.addEventListener("toggle", () => node.append(...makeBody()), { once: true });
  return node;
}

function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, text);
}

function stateName(index) {
  return el("span", {}, "s", el("sub", {}, index));
}

// Colours a node by a value in [0, 1]; the number itself is for the caller to show.
function colour(node, value) {
  node.classList.add("value", value < 0.5 ? "low" : "high");
  node.style.setProperty("--distance", `${Math.abs(2 * value - 1) * 100}%`);
  return node;
}

function fixed(value, digits = 2) {
  return value === null ? "not finite" : value.toFixed(digits);
}

function signed(value) {
  return value === null ? "not finite" : `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// ---------------------------------------------------------------- what is in the data

function countCorrect(state) {
  return state.completions.filter((completion) => completion.correct).length;
}

function kindOfState(state) {
  const correct = countCorrect(state);
  if (correct === state.completions.length) return "all correct";
  return correct ? "mixed" : "all wrong";
}

function kindOfGuidance(guidance) {
  if (guidance.correct === null) return "none";
  return guidance.correct ? "correct" : "incorrect";
}

function trainedVisits(visits) {
  return visits.filter((visit) => !visit.candidates);
}

function kindsOfGuidance(visit) {
  return visit.candidates ? ["candidates"] : visit.guidances.map(kindOfGuidance);
}

function hasFailure(state, wanted) {
  return state.completions.some(({ failure }) => failure && (wanted === "some" || failure === wanted));
}

// ---------------------------------------------------------------- filters

const STATE_FILTERS = {
  states: (state, wanted) => {
    const kind = kindOfState(state);
    return wanted === "saturated" ? kind !== "mixed" : kind === wanted;
  },
  failure: hasFailure,
};

const VISIT_FILTERS = {
  guidance: (visit, wanted) => kindsOfGuidance(visit).includes(wanted),
  step: (visit, wanted) => String(visit.step) === wanted,
};

function passes(filters, subject) {
  return Object.entries(filters).every(([id, passesOne]) => !byId(id).value || passesOne(subject, byId(id).value));
}

function visitPasses(visit) {
  const states = Object.fromEntries(Object.entries(STATE_FILTERS).map(([id, passesOne]) =>
    [id, (_, wanted) => visit.states.some((state) => passesOne(state, wanted))]));
  return passes(VISIT_FILTERS, visit) && passes(states, visit);
}

function isFound(problem) {
  const search = byId("search").value.trim().toLowerCase();
  const texts = [problem.question, problem.gold, problem.id];
  return texts.some((text) => text.toLowerCase().includes(search)) && problem.visits.some(visitPasses);
}

function applyFilters() {
  shown.found = data.problems.filter(isFound);
  shown.listed = 0;
  byId("list").replaceChildren();
  byId("count").value = `${shown.found.length.toLocaleString("en")} of ${plural(data.problems.length, "problem")}`;
  listMore();
  const problem = shown.found.includes(shown.problem) ? shown.problem : shown.found[0];
  if (problem) openProblem(problem);
  else byId("problem").replaceChildren(el("p", {}, "No problem passes these filters."));
}

// ---------------------------------------------------------------- list of problems

function listMore() {
  const next = shown.found.slice(shown.listed, shown.listed + LIST_PAGE);
  byId("list").append(...next.map(listEntry));
  shown.listed += next.length;
  const left = shown.found.length - shown.listed;
  byId("more").hidden = !left;
  byId("more").textContent = `Show more (${left.toLocaleString("en")} left)`;
  markListed();
}

function listEntry(problem) {
  const visits = trainedVisits(problem.visits);
  const first = visits[0] ?? problem.visits[0], last = visits.at(-1) ?? first;
  const passRates = [first, ...(first === last ? [] : [last])].map((visit) => fixed(visit.states[0].value));
  const entry = button({ "data-id": problem.id }, () => chooseProblem(problem),
    el("span", { class: "question" }, problem.question),
    el("span", { class: "quiet" }, `gold ${problem.gold} \u00b7 ${plural(visits.length, "visit")} \u00b7 V(s`,
      el("sub", {}, "0"), `) ${passRates.join(" \u2192 ")}`),
    strip(first));
  return el("li", {}, entry);
}

// The values of a visit at a glance; the numbers are with the states.
function strip(visit) {
  const cells = visit.states.map((state) => colour(el("span"), state.value));
  return el("span", { class: "strip", "aria-hidden": "true" }, ...cells);
}

function chooseProblem(problem) {
  openProblem(problem);
  if (matchMedia("(max-width: 800px)").matches) byId("problem").focus();
}

function markListed() {
  for (const entry of byId("list").querySelectorAll("button")) {
    entry.setAttribute("aria-current", entry.dataset.id === shown.problem?.id);
  }
}

// ---------------------------------------------------------------- a problem and its visits

function openProblem(problem) {
  shown.problem = problem;
  markListed();
  const visits = problem.visits.filter(visitPasses);
  const place = el("div");
  const choices = visits.map((visit) => button({ "aria-pressed": "false" }, (event) => {
    press(event.currentTarget);
    openVisit(place, visit);
  }, `${visit.dump ? `${visit.dump}, step` : "Step"} ${visit.step}`, el("span", { class: "quiet" }, guidanceWords(visit))));
  byId("problem").replaceChildren(...problemHead(problem, trainedVisits(visits).length),
    el("div", { class: "visits", role: "group", "aria-label": "Visits" }, ...choices), place);
  choices[0].click();
}

// Of the buttons beside it this one is down.
function press(pressed) {
  for (const other of pressed.parentElement.children) other.setAttribute("aria-pressed", other === pressed);
}

function guidanceWords(visit) {
  const kinds = kindsOfGuidance(visit);
  if (visit.candidates) return "candidates";
  return kinds[0] === "none" ? "no guidance" : `${kinds.join(", ")} guidance`;
}

function problemHead(problem, passing) {
  const all = trainedVisits(problem.visits).length;
  const visits = passing === all ? plural(all, "visit") : `${passing} of ${plural(all, "visit")} pass the filters`;
  return [
    el("h3", {}, problem.question),
    el("p", {}, "Gold answer ", el("strong", { class: "answer" }, problem.gold),
      el("span", { class: "quiet" }, ` \u00b7 ${visits} \u00b7 id ${problem.id}`)),
    lazyDetails({}, ["Prompt as the model read it, and label"], () => [
      el("pre", {}, problem.prompt), el("p", {}, "Label:"), el("pre", {}, problem.label)]),
  ];
}

function openVisit(place, visit) {
  const panel = el("section", { class: "completions" });
  const select = (index) => {
    panel.replaceChildren(...completionNodes(visit.states[index]));
    for (const node of place.querySelectorAll("[data-state]")) {
      node.setAttribute("aria-pressed", node.dataset.state === String(index));
    }
    for (const text of place.querySelectorAll(".text")) scrollToCut(text, index);
  };
  place.replaceChildren(...visit.guidances.flatMap((guidance) => guidanceNodes(visit, guidance, select)), panel);
  const first = visit.states.findIndex((state) => passes(STATE_FILTERS, state));
  select(Math.max(first, 0));
}

// ---------------------------------------------------------------- guidance and its states

function guidanceNodes(visit, guidance, select) {
  const tiles = guidance.states.map((place) => el("li", {}, stateTile(visit.states[place], place, select)));
  return [
    visit.candidates ? candidatesHead() : guidanceHead(guidance),
    el("ol", { class: "tiles", "aria-label": "States" }, ...tiles),
    guidanceText(visit, guidance, select),
  ];
}

function candidatesHead() {
  return el("p", {}, badge("none", "candidates"), " Sampled to find a first guidance, or for the values of states; none was trained on.");
}

function guidanceHead(guidance) {
  if (guidance.correct === null) {
    return el("p", {}, badge("none", "no guidance"), " Everything was sampled from s", el("sub", {}, "0"), ".");
  }
  const kind = kindOfGuidance(guidance);
  return el("p", {}, badge(kind, `${MARKS[kind]} ${kind} guidance`), el("span", { class: "quiet" },
    ` picked at pass rate ${fixed(guidance.passRate)}, sampled at visit ${guidance.visit + 1} of this problem`));
}

function stateTile(state, place, select) {
  const kind = kindOfState(state);
  const counts = `${countCorrect(state)} of ${state.completions.length} correct`;
  const notes = [counts];
  if (kind !== "mixed") notes.push(kind);
  if (hasFailure(state, "some")) notes.push("grader failure");
  const tile = button({ class: "tile", "data-state": place, "aria-pressed": "false" }, () => select(place),
    stateName(state.index), el("strong", {}, fixed(state.value)),
    ...notes.map((note) => el("span", { class: "note" }, note)));
  return colour(tile, state.value);
}

// The text, cut where states end.
function guidanceText(visit, guidance, select) {
  const parts = guidance.pieces.flatMap((piece, i) => {
    if (i === guidance.states.length) return [piece];
    const place = guidance.states[i], state = visit.states[place];
    const cut = button({ class: "cut", "data-state": place, "aria-pressed": "false" }, () => select(place),
      stateName(state.index), ` ${fixed(state.value)}`);
    return [piece, colour(cut, state.value)];
  });
  return el("div", { class: "text" }, ...parts);
}

// Only within the text: the page itself stays where it is.
function scrollToCut(text, place) {
  const cut = text.querySelector(`[data-state="${place}"]`);
  if (cut) text.scrollTop = cut.offsetTop - text.offsetTop - text.clientHeight / 3;
}

// ---------------------------------------------------------------- completions

function completionNodes(state) {
  const gain = state.index ? `, ${signed(state.gain)} over the state before` : "";
  return [
    el("h4", {}, "Completions from ", stateName(state.index)),
    el("p", { class: "quiet" }, `${countCorrect(state)} of ${state.completions.length} correct, mean reward `,
      `${fixed(state.value, 3)}${gain}; the state has ${plural(state.tokens, "token")}`),
    ...state.completions.map(completionNode),
  ];
}

function completionNode(completion) {
  const kind = completion.correct ? "correct" : "incorrect";
  const badges = [badge(kind, `${MARKS[kind]} ${kind}`)];
  if (completion.truncated) badges.push(badge("warning", "truncated"));
  if (completion.failure) badges.push(badge("warning", `grader: ${completion.failure.replace("_", " ")}`));
  const numbers = [`reward ${fixed(completion.reward)}`, `advantage ${signed(completion.advantage)}`,
    plural(completion.tokens, "token"), weightWords(completion)];
  const summary = [
    el("span", { class: "badges" }, ...badges),
    el("span", { class: "answer" }, ...answerNodes(completion)),
    el("span", { class: "quiet numbers" }, numbers.join(" \u00b7 ")),
    el("span", { class: "snippet" }, completion.text.slice(0, SNIPPET)),
  ];
  const body = () => [...logNodes(completion), el("pre", {}, completion.text)];
  return lazyDetails({ class: "completion" }, summary, body);
}

function answerNodes({ answer }) {
  const words = el("span", { class: "quiet" }, answer === null ? "no answer" : "answer ");
  return [words, answer ?? ""];
}

function weightWords({ weights: [first, last] }) {
  return first === last ? `weight version ${first}` : `weight versions ${first} to ${last}`;
}

function logNodes(completion) {
  const logs = Object.entries(completion.logs).map(([name, value]) => `${name} ${fixed(value, 3)}`);
  return logs.length ? [el("p", { class: "quiet" }, logs.join(" \u00b7 "))] : [];
}

// ---------------------------------------------------------------- the run

function drawRun() {
  byId("headline").append(...data.headline.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  byId("sampling").textContent = data.sampling;
  byId("curves-note").textContent = data.curvesNote;
  byId("curves").append(...data.curves.slice(0, MAIN_CURVES).map(drawCurve));
  const more = data.curves.slice(MAIN_CURVES);
  const settings = [
    ...(more.length ? [lazyDetails({}, [plural(more.length, "more curve")], () =>
      [el("div", { class: "curves" }, ...more.map(drawCurve))])] : []),
    ...table("Results and versions", data.facts), ...table("Flags", data.flags)];
  byId("settings").append(...settings);
}

function table(name, rows) {
  if (!rows.length) return [];
  return [lazyDetails({}, [name], () => [el("table", {}, ...rows.map(([key, value]) =>
    el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, value))))])];
}

function fillChoices() {
  byId("failure").append(...data.failures.map((name) => el("option", { value: name }, name.replace("_", " "))));
  const steps = new Set(data.problems.flatMap((problem) => problem.visits.map((visit) => visit.step)));
  byId("step").append(...[...steps].sort((a, b) => a - b).map((step) => el("option", { value: step }, step)));
}

drawRun();
fillChoices();
byId("search").addEventListener("input", applyFilters);
for (const select of document.querySelectorAll("select")) select.addEventListener("change", applyFilters);
byId("filters").addEventListener("reset", () => setTimeout(applyFilters)); // the fields are reset after the event
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", listMore);
applyFilters();
document.documentElement.dataset.ready = Math.round(performance.now()); // ms since the page was asked for
