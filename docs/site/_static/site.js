// The live figure of the first page. Decoding is linear in λ: logit(λ) = logit(0) + λ · slope, for every token.
// All numbers stand in the page; nothing is fetched. Without this script the page keeps its table.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 190, LEFT = 8, RIGHT = 8, BASE = 150, TOP = 26;

  /** An element with attributes and children; text is never read as HTML. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function draw(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const number = (value, digits = 1) => value.toFixed(digits).replace("-", "−");

  /** Places of the k tokens with the largest logits after a step of λ, best first; a tie goes to the earlier one. */
  function best(data, sentence, amount) {
    const logits = sentence.tokens.map((token, i) => sentence.logits[i] + amount * data.slopes[token]);
    return logits.map((_, i) => i).sort((a, b) => logits[b] - logits[a] || a - b).slice(0, data.slider.k);
  }

  function chip(data, token, kind) {
    const text = data.tokens[token];
    const spaced = text.startsWith("_");
    let shown = make("bdi", {}, spaced ? text.slice(1) : text);
    if (kind !== "o") shown = make("u", {}, shown);
    if (kind === "s") shown = make("b", {}, shown);
    const element = make("span", { class: "finding-chip", style: `background:${data.looks[kind].ground}` });
    if (spaced) element.append(make("small", {}, "␣"));
    element.append(shown);
    return element;
  }

  /** Content words of a sentence among the ten: of the chosen one, and the mean over all with their own and others' ten. */
  function counts(data, chosen, amount) {
    const tops = data.sentences.map((sentence) => best(data, sentence, amount).map((i) => sentence.tokens[i]));
    const found = data.sentences.map((sentence) => {
      const content = new Set(sentence.content);
      return tops.map((top) => top.filter((token) => content.has(token)).length);
    });
    const n = found.length, total = found.flat().reduce((a, b) => a + b, 0);
    const own = found.reduce((sum, row, i) => sum + row[i], 0);
    return { here: found[chosen][chosen], own: own / n, others: (total - own) / (n * (n - 1)) };
  }

  function histogram(data, box, chosen, amount) {
    const width = Math.max(280, box.clientWidth), [low, high] = data.bins;
    const x = (value) => LEFT + (value - low) / (high - low) * (width - LEFT - RIGHT);
    const tallest = Math.max(...data.histogram.untrained, ...data.histogram.trained);
    const y = (count) => BASE - count / tallest * (BASE - TOP);
    const svg = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    for (let value = Math.ceil(low / 10) * 10; value <= high; value += 10) {
      svg.append(draw("line", { x1: x(value), x2: x(value), y1: TOP, y2: BASE + 4, class: "finding-grid" }));
      svg.append(draw("text", { x: x(value), y: BASE + 17, "text-anchor": "middle" }, number(value, 0)));
    }
    data.histogram.untrained.forEach((count, n) => {
      if (!count) return;
      const left = x(low + n + amount);
      svg.append(draw("rect", { x: left, y: y(count), width: x(low + 1) - x(low), height: BASE - y(count), class: "finding-untrained" }));
    });
    const steps = data.histogram.trained.map((count, n) => `V${y(count)}H${x(low + n + 1)}`).join("");
    svg.append(draw("path", { d: `M${x(low)},${BASE}${steps}V${BASE}`, class: "finding-trained" }));
    const here = x(data.sentences[chosen].coefficient + amount);
    svg.append(draw("path", { d: `M${here},${BASE}l-6,-13h12z`, class: "finding-here" }));
    svg.append(draw("text", { x: width / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "h·u₁: how far an embedding lies along the direction"));
    box.replaceChildren(svg);
  }

  function start(root, data) {
    const { lowest, highest, step } = data.slider;
    const trainedStep = Math.round(data.variation / step) * step;
    const choice = make("select", { id: "finding-sentence" });
    data.sentences.forEach((sentence, n) => choice.append(make("option", { value: n }, sentence.text)));
    const slider = make("input", { type: "range", id: "finding-amount", min: lowest, max: highest, step, value: 0,
      "aria-describedby": "finding-help" });
    const shownAmount = make("output", { for: "finding-amount" });
    const asItIs = make("button", { type: "button" }, "as it is: λ = 0");
    const asTrained = make("button", { type: "button" }, `as far as training went: λ = ${number(trainedStep)}`);
    const chips = make("div", { class: "finding-chips", id: "finding-tokens" });
    const said = make("p", { class: "finding-said", role: "status" });
    const after = make("div", { class: "finding-chips" });
    const picture = make("div", { class: "finding-picture", role: "img" });
    const legend = root.querySelector(".finding-legend");

    const controls = make("div", { class: "finding-controls" },
      make("label", { for: "finding-sentence" }, "A sentence"), choice,
      make("label", { for: "finding-amount" }, "λ, a step along the first component ", shownAmount), slider,
      make("p", { class: "finding-buttons" }, asItIs, asTrained),
      make("p", { id: "finding-help", class: "finding-help" },
        "Drag, or use the arrow keys; page up and page down take larger steps."));
    const key = make("p", { class: "finding-key" },
      make("span", { class: "finding-swatch finding-swatch-untrained" }), ` ${data.texts} Wikipedia sentences, ${data.models.untrained} moved by λ `,
      make("span", { class: "finding-swatch finding-swatch-trained" }), ` the same after training, ${data.models.trained} `,
      make("span", { class: "finding-swatch-here" }, "▲"), " your sentence");
    root.querySelector(".finding-text").remove();
    root.querySelector(".finding-static").remove();
    root.prepend(controls, make("p", { class: "finding-head" }, "The ten tokens with the largest logits"), chips, said,
      make("p", { class: "finding-head" }, `For comparison, the embedder made from this model (${data.models.trained})`), after);
    legend.after(picture, key);

    function show(settled) {
      const chosen = Number(choice.value), amount = Number(slider.value), sentence = data.sentences[chosen];
      shownAmount.textContent = number(amount);
      slider.setAttribute("aria-valuetext", `λ = ${number(amount)}`);
      chips.replaceChildren(...best(data, sentence, amount).map((i) => chip(data, sentence.tokens[i], sentence.kinds[i])));
      after.replaceChildren(...sentence.trained.map((token, i) => chip(data, token, sentence.trained_kinds[i])));
      histogram(data, picture, chosen, amount);
      if (!settled) return; // a screen reader hears where the slider came to rest, not every step
      const found = counts(data, chosen, amount);
      said.textContent = `Of the ${data.slider.k}, ${found.here} ${found.here === 1 ? "is a content word" : "are content words"} ` +
        `of this sentence. Over all ${data.sentences.length} sentences: ${number(found.own, 2)} on average; ` +
        `against another sentence's words: ${number(found.others, 2)}.`;
      picture.setAttribute("aria-label", `Histogram of h·u_1 for ${data.texts} sentences. Untrained, moved by λ = ` +
        `${number(amount)}: mean ${number(data.means.untrained + amount)}. After training: mean ` +
        `${number(data.means.trained)}. This sentence: ${number(sentence.coefficient + amount)}.`);
    }

    const to = (amount) => { slider.value = amount; show(true); };
    slider.addEventListener("input", () => show(false));
    slider.addEventListener("change", () => show(true));
    choice.addEventListener("change", () => show(true));
    asItIs.addEventListener("click", () => to(0));
    asTrained.addEventListener("click", () => to(trainedStep));
    new ResizeObserver(() => show(false)).observe(root);
    show(true);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const data = document.getElementById("finding-data");
    if (data) start(document.getElementById("finding"), JSON.parse(data.textContent));
  });
})();
