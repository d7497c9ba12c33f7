// Everything that the page needs is kept at its first visit, so that it works without a network afterwards; a large network is kept when it is
// fetched. The build writes the two lines below: a version made of all files, and their names.
const VERSION = "__VERSION__", FILES = ["__FILES__"];

self.addEventListener("install", event => event.waitUntil(caches.open(VERSION).then(cache => cache.addAll(FILES)).then(() => self.skipWaiting())));

self.addEventListener("activate", event => event.waitUntil(caches.keys()
  .then(names => Promise.all(names.filter(n => n.startsWith("lightvision-") && n !== VERSION).map(n => caches.delete(n))))
  .then(() => self.clients.claim())));

async function fetchAndKeep(request) {
  const answer = await fetch(request);
  if (answer.ok && request.url.endsWith("/model.onnx")) await (await caches.open(VERSION)).put(request, answer.clone());
  return answer;
}

self.addEventListener("fetch", event => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(self.registration.scope)) return;
  event.respondWith(caches.match(event.request, { ignoreSearch: true, cacheName: VERSION }).then(kept => kept ?? fetchAndKeep(event.request)));
});
