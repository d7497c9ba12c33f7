// A Bundle of lightvision in a browser: its files fetched, checked against its checksums, and opened in ONNX Runtime.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { fit, softmax, tensorOf } from "./image.js";

ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1;  // more need headers that a plain file server does not send

const hex = buffer => Array.from(new Uint8Array(buffer), b => b.toString(16).padStart(2, "0")).join("");

async function fetched(url) {
  const answer = await fetch(url, { cache: "no-cache" });  // ask whether the browser's copy is still the server's
  if (!answer.ok) throw new Error(`${url} cannot be loaded: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

const isKept = async url => Boolean(globalThis.caches && await caches.match(url));  // by the service worker

/** The service worker would hand out a damaged file for ever. */
async function forget(url) {
  for (const name of globalThis.caches ? await caches.keys() : []) await (await caches.open(name)).delete(url);
}

/** What came over the network for a file: 0 where it lay in the cache already. What a service worker passes on counts as nothing transferred. */
function bytesSent(url, wasKept) {
  const entry = performance.getEntriesByName(url).at(-1);
  if (!entry) return null;
  const passedOn = Boolean(navigator.serviceWorker?.controller) && !wasKept;
  return entry.transferSize || passedOn ? entry.encodedBodySize : 0;
}

export class Bundle {
  /** Fetch a Bundle and open its network. A file that is not the one that was verified is refused. */
  static async load(folder) {
    const bundle = new Bundle(), base = new URL(`${folder}/`, import.meta.url).href;
    const wasKept = await isKept(base + "model.onnx");
    const sums = new Map(new TextDecoder().decode(await fetched(base + "SHA256SUMS")).trim().split("\n").map(l => l.split("  ").reverse()));
    const [card, preprocessing, labels, model] = await Promise.all(["card.json", "preprocessing.json", "labels.txt", "model.onnx"].map(async name => {
      const bytes = await fetched(base + name);
      if (hex(await crypto.subtle.digest("SHA-256", bytes)) === sums.get(name)) return bytes;
      await Promise.all([name, "SHA256SUMS"].map(n => forget(base + n)));
      throw new Error(`${folder}/${name} is not the file that was verified: tick the box to load it again`);
    }));
    const text = buffer => new TextDecoder().decode(buffer);
    Object.assign(bundle, { card: JSON.parse(text(card)), size: JSON.parse(text(preprocessing)).size, labels: text(labels).trim().split("\n") });
    Object.assign(bundle, { folder, bytes: model.byteLength, sent: bytesSent(base + "model.onnx", wasKept) });
    bundle.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return bundle;
  }

  /** Logits for an image as `pixels` gives it. */
  async logits(image) {
    const [height, width] = this.size, input = tensorOf(fit(image, this.size), this.size);
    const out = await this.session.run({ [this.session.inputNames[0]]: new ort.Tensor("float32", input, [1, 3, height, width]) });
    return out[this.session.outputNames[0]].data;
  }

  /** The k most probable classes. */
  async classify(image, k = 3) {
    const logits = await this.logits(image);
    return softmax(logits).map((p, i) => ({ label: this.labels[i], p })).sort((a, b) => b.p - a.p).slice(0, k);
  }

  /** Milliseconds of the network alone: the median over rounds, each of enough runs for the browser's coarse clock. */
  async latency(rounds = 7, roundMs = 20) {
    const [height, width] = this.size, name = this.session.inputNames[0];
    const feed = { [name]: new ort.Tensor("float32", new Float32Array(3 * height * width).fill(0.5), [1, 3, height, width]) };
    const start = performance.now();
    let runs = 0;
    while (runs < 20 || (performance.now() - start < 100 && runs < 100)) { await this.session.run(feed); runs++; }  // warm up
    const each = Math.max(Math.ceil(roundMs * runs / (performance.now() - start)), 1), times = [];
    for (let r = 0; r < rounds; r++) {
      const begin = performance.now();
      for (let i = 0; i < each; i++) await this.session.run(feed);
      times.push((performance.now() - begin) / each);
    }
    return times.sort((a, b) => a - b)[rounds >> 1];
  }
}
