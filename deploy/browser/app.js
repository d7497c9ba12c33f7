// The page: where images come from, and what is shown of them.
import { Bundle } from "./bundle.js";
import { pixels } from "./image.js";

const $ = id => document.getElementById(id);
const say = text => { $("status").textContent = text; };

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const kilobytes = n => n >= 1e6 ? `${(n / 1e6).toFixed(2)} MB` : `${(n / 1e3).toFixed(1)} KB`;
const percent = p => `${(100 * p).toFixed(1)} %`;

function describe(bundle) {
  const { test, synthetic, task } = bundle.card, sent = bundle.sent;
  return [
    ["task", synthetic ? `${task} (synthetic images)` : task],
    ["file", kilobytes(bundle.bytes)],
    ["sent now", sent === null ? "unknown" : sent ? kilobytes(sent) : "0 (it was here already)"],
    ["test accuracy", percent(test.accuracy)],
    ["95 % interval", `${(100 * test.low).toFixed(1)} to ${percent(test.high)}`],
    ["time an image", `${bundle.ms.toFixed(2)} ms`],
  ];
}

const bundles = [], images = [];

/** Open the network of a box, and say under it what there is to say. */
async function open(box, { folder, title }) {
  const under = box.closest(".bundle").querySelector(".about");
  box.disabled = true;
  under.replaceChildren(make("p", { className: "hint", textContent: "being loaded …" }));
  try {
    const bundle = await Bundle.load(`bundles/${folder}`);
    bundle.ms = await bundle.latency();
    under.replaceChildren(make("dl", {}, ...describe(bundle).flatMap(([term, value]) => [make("dt", { textContent: term }), make("dd", { textContent: value })])));
    bundles.push(Object.assign(bundle, { title, box }));
    bundles.sort((a, b) => a.bytes - b.bytes);
    box.onchange = showAll;
  } catch (error) {
    box.checked = false;
    under.replaceChildren(make("p", { className: "error", textContent: error.message }));
  } finally { box.disabled = false; }
}

/** A box for each network. Small ones are opened at once, the others when somebody wants them. */
async function loadBundles() {
  const { bundles: entries, examples } = await (await fetch("contents.json")).json();
  for (const entry of entries) {
    const box = make("input", { type: "checkbox", id: `use-${entry.folder}`, checked: !entry.later });
    const under = make("div", { className: "about" }, make("p", { className: "hint", textContent: entry.later ? "loaded when you tick it" : "" }));
    $("bundles").append(make("div", { className: "bundle" }, make("label", { htmlFor: box.id }, box, ` ${entry.title}`), under));
    box.onchange = async () => { await open(box, entry); await showAll(); };  // the first time, and again where it failed
    if (!entry.later) await open(box, entry);
  }
  say(bundles.length ? "Ready: choose an image." : "No network could be loaded.");
  $("examples-title").textContent = examples.title;
  $("examples").hidden = !examples.files.length;
  for (const name of examples.files) {
    const alt = `example: ${name.replace(/\.[a-z]+$/, "")}`;
    const button = make("button", { type: "button", title: alt }, make("img", { src: `examples/${name}`, alt, width: 64, height: 64 }));
    button.onclick = async () => add([new File([await (await fetch(`examples/${name}`)).blob()], name)]);
    $("example-list").append(make("li", {}, button));
  }
}

function topClasses(bundle, top) {
  const rows = top.map(({ label, p }) => make("li", {},
    make("span", { className: "label", textContent: label }), make("span", { className: "p", textContent: percent(p) }),
    make("span", { className: "bar", style: `--p:${p}` })));
  const answer = make("div", { className: "answer" }, make("h3", { textContent: bundle.title }), make("ol", {}, ...rows));
  answer.dataset.bundle = bundle.folder;
  return answer;
}

/** One row an image: what it is called, how it looks, the classes of each network that is ticked. */
async function row(image) {
  const answers = [];
  for (const bundle of bundles.filter(b => b.box.checked)) {
    const answer = image.answers.get(bundle) ?? await bundle.classify(image.pixels);
    image.answers.set(bundle, answer);
    answers.push(topClasses(bundle, answer));
  }
  const agree = new Set([...image.answers].filter(([b]) => b.box.checked).map(([, top]) => top[0].label)).size < 2;
  const shown = make("img", { src: image.url, alt: image.name });
  return make("article", { className: agree ? "" : "differ" }, make("figure", {}, shown, make("figcaption", { textContent: image.name })),
    make("div", { className: "answers" }, ...answers, ...(agree ? [] : [make("p", { className: "note", textContent: "The networks differ." })])));
}

async function showAll() {
  const rows = [];
  for (const image of images) rows.push(await row(image));
  $("results").replaceChildren(...rows);
}

/** Classify files and show them above the earlier ones. Files that are no images are named and left out. */
let last = Promise.resolve();
function add(files) {
  const chosen = [...files];  // a file input empties its list when it is reset
  return last = last.then(() => addNow(chosen));
}

async function addNow(files) {
  await ready;
  const refused = [];
  for (const [i, file] of files.entries()) {
    say(`Image ${i + 1} of ${files.length} …`);
    try {
      const image = { name: file.name, url: URL.createObjectURL(file), pixels: await pixels(file), answers: new Map() };
      $("results").prepend(await row(image));
      images.unshift(image);
    } catch { refused.push(file.name); }
  }
  const done = files.length - refused.length;
  say(`${done} image${done === 1 ? "" : "s"} classified.` + (refused.length ? ` Not an image that this browser can read: ${refused.join(", ")}.` : ""));
}

$("files").onchange = event => { add(event.target.files); event.target.value = ""; };
document.addEventListener("paste", event => { if (event.clipboardData.files.length) add(event.clipboardData.files); });
for (const type of ["dragover", "drop"]) document.addEventListener(type, event => event.preventDefault());
document.addEventListener("dragover", () => $("drop").classList.add("over"));
document.addEventListener("dragleave", event => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", event => { $("drop").classList.remove("over"); if (event.dataTransfer.files.length) add(event.dataTransfer.files); });

let stream = null;
function stopCamera() {
  stream?.getTracks().forEach(track => track.stop());
  stream = null;
  $("live").hidden = true;
  $("camera").focus();
}
$("camera").onclick = async () => {
  try { stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }); }
  catch (error) { return say(`The camera cannot be used: ${error.message}`); }
  $("shoot").disabled = true;  // until there is an image to take
  $("live").hidden = false;
  $("video").srcObject = stream;
  await $("video").play();
  $("shoot").disabled = false;
  $("shoot").focus();
};
$("stop").onclick = stopCamera;
$("shoot").onclick = () => {
  const { videoWidth: width, videoHeight: height } = $("video"), canvas = make("canvas", { width, height });
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  canvas.toBlob(blob => add([new File([blob], `camera ${new Date().toLocaleTimeString()}`)]));  // PNG: nothing is lost
};

const ready = loadBundles().catch(error => say(`The networks cannot be loaded: ${error.message}`));
// Afterwards, for it fetches the networks too: what was sent for the page would seem to have been here already.
if ("serviceWorker" in navigator) ready.then(() => navigator.serviceWorker.register("sw.js"));
