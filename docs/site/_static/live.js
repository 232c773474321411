// "Your own sentence": a language model and the embedder made from it, in the browser. `tools/live.py` writes the files
// that are read here. The path of a sentence is the one of the course: tokens, hidden states, pooling, output layer.
"use strict";

const SeveralTokens = (() => {
  /** A text's tokens by byte-level BPE: pieces of text, their bytes, and then the merges, the earliest learned first. */
  function tokenizer(known) {
    const size = known.shown.length, merges = new Map();
    for (let n = 0; n < known.merges.length; n += 3) {
      merges.set(known.merges[n] * size + known.merges[n + 1], { rank: n, token: known.merges[n + 2] });
    }
    const space = "\\p{White_Space}";
    const pieces = new RegExp(`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+` +
      `|${space}+(?!\\P{White_Space})|${space}+`, "gu");
    const added = Object.keys(known.added).sort((a, b) => b.length - a.length);
    const whole = new RegExp(`(${added.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})`);
    const utf8 = new TextEncoder();

    function merged(tokens) {
      for (;;) {
        let best = null;
        for (let at = 0; at + 1 < tokens.length; at++) {
          const merge = merges.get(tokens[at] * size + tokens[at + 1]);
          if (merge && (!best || merge.rank < best.rank)) best = { ...merge, at };
        }
        if (!best) return tokens;
        tokens.splice(best.at, 2, best.token);
      }
    }

    return (text) => (added.length ? text.split(whole) : [text]).flatMap((part) => {
      if (part in known.added) return known.added[part];
      const bytes = (part.match(pieces) ?? []).map((piece) => [...utf8.encode(piece)]);
      return bytes.flatMap((piece) => merged(piece.map((byte) => known.bytes[byte]).filter((token) => token >= 0)));
    });
  }

  /** The table of tokens, with eight bits a value and a scale for each 32. */
  function readTable(buffer, width, block = 32) {
    const rows = buffer.byteLength / (width + 4 * width / block);
    const scales = new Float32Array(buffer, 0, rows * width / block);
    return { rows, width, block, scales, values: new Int8Array(buffer, scales.byteLength) };
  }

  /** The rows of some tokens, one after the other. */
  function lookUp(table, tokens) {
    const { width, block, scales, values } = table, found = new Float32Array(tokens.length * width);
    tokens.forEach((token, n) => {
      for (let i = 0; i < width; i++) {
        const place = token * width + i;
        found[n * width + i] = values[place] * scales[Math.floor(place / block)];
      }
    });
    return found;
  }

  /** The mean of hidden states of `length` tokens, the first of which stands at `start`; weighted: token t counts t. */
  function pool(states, start, length, width, pooling) {
    const embedding = new Float32Array(width);
    let total = 0;
    for (let t = 0; t < length; t++) {
      const weight = pooling === "weighted_mean" ? t + 1 : 1;
      for (let i = 0; i < width; i++) embedding[i] += weight * states[start + t * width + i];
      total += weight;
    }
    return embedding.map((value) => value / total);
  }

  /** The logits of all tokens: every row of the table times the embedding. */
  function decode(table, embedding) {
    const { rows, width, block, scales, values } = table, logits = new Float32Array(rows);
    for (let row = 0, place = 0, scale = 0; row < rows; row++) {
      let logit = 0;
      for (let from = 0; from < width; from += block, scale++) {
        let sum = 0;
        for (let i = from; i < from + block; i++, place++) sum += values[place] * embedding[i];
        logit += sum * scales[scale];
      }
      logits[row] = logit;
    }
    return logits;
  }

  /** The k tokens with the largest logit + amount · slope, best first; special ones are left out. */
  function best(logits, slopes, amount, k, special) {
    const found = [];
    for (let token = 0; token < logits.length; token++) {
      const logit = logits[token] + amount * slopes[token];
      if (found.length === k && logit <= found[k - 1].logit || special.has(token)) continue;
      let at = found.length;
      while (at > 0 && found[at - 1].logit < logit) at--;
      found.splice(at, 0, { token, logit });
      found.length = Math.min(found.length, k);
    }
    return found.map((each) => each.token);
  }

  /** What each token has to do with the text: "s" one of its own, "v" of the same stem as one, "o" another. */
  function kinds(known, tokens, own) {
    const shown = new Set(own.map((token) => known.shown[token]));
    const stems = new Set(own.map((token) => known.stems[token]).filter((stem) => stem > 0));
    return tokens.map((token) => shown.has(known.shown[token]) ? "s" : stems.has(known.stems[token]) ? "v" : "o");
  }

  return { tokenizer, readTable, lookUp, pool, decode, best, kinds };
})();

(() => {
  const FOLDER = "_static/live/";
  const number = (value, digits = 1) => value.toFixed(digits).replace("-", "−");

  /** An element with attributes and children; text is never read as HTML. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function chip(text, kind, looks) {
    const spaced = text.startsWith("_");
    let shown = make("bdi", {}, spaced ? text.slice(1) : text);
    if (kind !== "o") shown = make("u", {}, shown);
    if (kind === "s") shown = make("b", {}, shown);
    const element = make("span", { class: "finding-chip", style: `background:${looks[kind].ground}` });
    if (spaced) element.append(make("small", {}, "␣"));
    element.append(shown);
    return element;
  }

  const source = (settings, name) => `${FOLDER}${name}?v=${settings.files[name][1]}`;

  /** Read one file, telling how many bytes have come. */
  async function fetched(settings, name, came) {
    const answer = await fetch(source(settings, name));
    if (!answer.ok) throw new Error(`${name} is not there (${answer.status})`);
    const whole = new Uint8Array(settings.files[name][0]), reader = answer.body.getReader();
    let length = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > whole.length) break;
      whole.set(value, length);
      length += value.length;
      came(value.length);
    }
    if (length !== whole.length) throw new Error(`${name} came in another length than it was written with`);
    return whole.buffer;
  }

  function script(address) {
    return new Promise((resolve, reject) => {
      const element = make("script", { src: address });
      element.addEventListener("load", resolve);
      element.addEventListener("error", () => reject(new Error(`${address} could not be read`)));
      document.head.append(element);
    });
  }

  /** Load everything; a function from a sentence to its tokens and the logits without and with training. */
  async function load(settings, came, say) {
    await script(source(settings, "ort.wasm.min.js"));
    const place = new URL(FOLDER, document.baseURI).href;
    ort.env.wasm.numThreads = 1; // more need headers that not every server sends
    ort.env.wasm.proxy = true; // a worker computes, so that the page stays awake
    ort.env.wasm.wasmPaths = { mjs: `${place}ort-wasm-simd-threaded.mjs` };
    ort.env.wasm.wasmBinary = await fetched(settings, "ort-wasm-simd-threaded.wasm", came);
    const known = JSON.parse(new TextDecoder().decode(await fetched(settings, "tokens.json", came)));
    const table = SeveralTokens.readTable(await fetched(settings, "table.bin", came), settings.width);
    const graph = await fetched(settings, "blocks.onnx", came);
    say("Preparing the model …");
    const session = await ort.InferenceSession.create(graph);
    const cut = SeveralTokens.tokenizer(known), special = new Set(known.special);
    const slopes = SeveralTokens.decode(table, known.direction);

    async function run(text) {
      const all = cut(text.trim()), tokens = all.slice(0, settings.longest), { width } = table;
      const embedded = new ort.Tensor("float32", SeveralTokens.lookUp(table, tokens), [1, tokens.length, width]);
      const results = await session.run({ embedded }), states = results[session.outputNames[0]].data;
      const logits = settings.poolings.map((pooling, n) => SeveralTokens.decode(
        table, SeveralTokens.pool(states, n * tokens.length * width, tokens.length, width, pooling)));
      const own = [...new Set(all)].filter((token) => !special.has(token));
      return { logits, own, tokens, length: all.length };
    }

    return { known, special, slopes, run };
  }

  /** The model is there: a line to type in, and the tokens of what is typed. */
  function start(root, settings, model) {
    const { lowest, highest, step, k } = settings.slider, { known } = model;
    const trainedStep = Math.round(settings.variation / step) * step;
    const text = make("input", { type: "text", id: "live-text", maxlength: 1000, autocomplete: "off", value: settings.first });
    const form = make("form", { class: "live-form" }, make("label", { for: "live-text" }, "Your sentence"), text,
      make("button", {}, "Decode"));
    const slider = make("input", { type: "range", id: "live-amount", min: lowest, max: highest, step, value: 0 });
    const shownAmount = make("output", { for: "live-amount" });
    const asItIs = make("button", { type: "button" }, "as it is: λ = 0");
    const asTrained = make("button", { type: "button" }, `as far as training went: λ = ${number(trainedStep)}`);
    const before = make("div", { class: "finding-chips", id: "live-untrained" });
    const after = make("div", { class: "finding-chips", id: "live-trained" });
    const said = make("p", { class: "finding-said", id: "live-said", role: "status" });
    const cut = make("div", { class: "live-cut", id: "live-cut" });
    const legend = make("p", { class: "finding-legend" });
    Object.entries(settings.looks).forEach(([kind, look]) => legend.append(chip("abc", kind, settings.looks), ` ${look.words} · `));
    legend.append("␣ a space before the token");
    root.replaceChildren(form, cut, said,
      make("p", { class: "finding-head" }, `Before training (${settings.names.untrained})`), before,
      make("label", { for: "live-amount" }, "λ, a step along the first component ", shownAmount), slider,
      make("p", { class: "finding-buttons" }, asItIs, asTrained),
      make("p", { class: "finding-head" }, `After training (${settings.names.trained})`), after, legend);

    let shown = null;

    function draw(settled) {
      const amount = Number(slider.value);
      shownAmount.textContent = number(amount);
      slider.setAttribute("aria-valuetext", `λ = ${number(amount)}`);
      if (!shown) return;
      const { logits, own } = shown, content = new Set(own.filter((token) => known.content[token] === "1"));
      const tops = [amount, 0].map((moved, n) => SeveralTokens.best(logits[n], model.slopes, moved, k, model.special));
      [before, after].forEach((box, n) => {
        const marks = SeveralTokens.kinds(known, tops[n], own);
        box.replaceChildren(...tops[n].map((token, i) => chip(known.shown[token], marks[i], settings.looks)));
      });
      if (!settled) return; // a screen reader hears where the slider came to rest, not every step
      const counts = tops.map((top) => top.filter((token) => content.has(token)).length);
      const chance = Object.values(settings.check.models).map((each) => number(each.chance, 2));
      said.textContent = `Content words of your sentence among the ${k}: ${counts[0]} before training at λ = ` +
        `${number(amount)}, ${counts[1]} after it. By chance, with another sentence's words, it would be ${chance[0]} ` +
        `at the most before and ${chance[1]} after.` + (shown.length > settings.longest ? ` Only its first ${settings.longest} tokens were read.` : "");
    }

    async function decode() {
      if (!text.value.trim()) {
        said.textContent = "Type a sentence first.";
        return;
      }
      form.querySelector("button").disabled = true;
      said.textContent = "Computing …";
      try {
        shown = await model.run(text.value);
        const marked = shown.tokens.map((token) => chip(known.shown[token], model.special.has(token) ? "o" : "s", settings.looks));
        cut.replaceChildren(make("p", { class: "finding-head" }, "Its tokens"), ...marked);
        draw(true);
      } catch (error) {
        said.textContent = `The model could not read this: ${error.message}`;
      }
      form.querySelector("button").disabled = false;
      root.dataset.state = "ready";
    }

    const to = (amount) => { slider.value = amount; draw(true); };
    form.addEventListener("submit", (event) => { event.preventDefault(); decode(); });
    slider.addEventListener("input", () => draw(false));
    slider.addEventListener("change", () => draw(true));
    asItIs.addEventListener("click", () => to(0));
    asTrained.addEventListener("click", () => to(trainedStep));
    draw(false);
    text.focus();
    return decode();
  }

  /** The page before anything is loaded: a button that says what it weighs. */
  function offer(root, settings) {
    const total = Object.values(settings.files).reduce((sum, [length]) => sum + length, 0);
    const button = make("button", { type: "button" }, `Load the model (${Math.round(total / 1e6)} MB)`);
    const bar = make("progress", { max: total, value: 0, "aria-label": "loading the model", hidden: "" });
    const said = make("p", { class: "finding-said", role: "status" },
      "It is read from this site and stays in your browser until you leave the page.");
    root.replaceChildren(make("p", {}, button), bar, said);
    button.addEventListener("click", async () => {
      button.disabled = true;
      bar.hidden = false;
      said.textContent = "Loading …";
      try {
        const model = await load(settings, (bytes) => { bar.value += bytes; }, (words) => { said.textContent = words; });
        await start(root, settings, model);
      } catch (error) {
        button.disabled = false;
        bar.hidden = true;
        bar.value = 0;
        said.textContent = `This did not work: ${error.message}. ` + (location.protocol === "file:"
          ? "A page that was opened as a file may read no other: serve the site, python -m http.server -d build/site."
          : "Try again, or try another browser.");
      }
    });
    const exact = Object.entries(settings.check.models).map(([name, found]) =>
      `${name}: smallest cosine ${number(found.cosine, 4)}, ${number(found.shared)} of the first ${settings.slider.k} tokens shared`);
    document.getElementById("live-check").textContent = `Compared with the model in PyTorch on the ` +
      `${settings.check.sentences} sentences of the first page: ${exact.join("; ")}.`;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("live");
    if (root?.dataset.settings) offer(root, JSON.parse(root.dataset.settings));
  });
})();
