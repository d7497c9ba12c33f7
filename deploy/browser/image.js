// An image file becomes the network's input as lightvision and Pillow do it: antialiased bicubic in whole numbers, the rows
// first. (Pillow 13 takes the columns first for some shapes: then some pixels differ by one level.) A canvas's own scaling
// would not do: browsers differ in it, and none of them is Pillow's.

// Pillow counts in whole numbers with this many bits behind the point.
const BITS = 22;

function bicubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/** For each of `size` new pixels: the first old pixel that it takes from, and the whole-number weights of those from there on.
 *  The kernel grows with the reduction, so that small images do not alias. */
function weights(oldSize, from, to, size) {
  const scale = Math.fround(Math.fround(to) - Math.fround(from)) / size, stretch = Math.max(scale, 1), support = 2 * stretch;
  return Array.from({ length: size }, (_, i) => {
    const centre = Math.fround(from) + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0), end = Math.min(Math.trunc(centre + support + 0.5), oldSize);
    const raw = Array.from({ length: end - first }, (_, k) => bicubic((k + first - centre + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map(w => { const v = w / sum * 2 ** BITS; return Math.trunc(v < 0 ? v - 0.5 : v + 0.5); }) };
  });
}

const clip = v => Math.min(Math.max(Math.floor((v + 2 ** (BITS - 1)) / 2 ** BITS), 0), 255);

/** Resample rows of `width` RGB pixels to `size` pixels each. */
function resampleRows(rgb, width, height, plan) {
  const out = new Uint8Array(height * plan.length * 3);
  for (let y = 0, o = 0; y < height; y++)
    for (const { first, weights } of plan)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += rgb[(y * width + first + k) * 3 + c] * weights[k];
        out[o++] = clip(sum);
      }
  return out;
}

function transpose(rgb, width, height) {
  const out = new Uint8Array(rgb.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) out[(x * height + y) * 3 + c] = rgb[(y * width + x) * 3 + c];
  return out;
}

/** Scale RGB pixels until they cover [height, width], and cut about the centre: Pillow's ImageOps.fit, bicubic. */
export function fit({ rgb, width, height }, [newHeight, newWidth]) {
  if (width === newWidth && height === newHeight) return rgb;
  const ratio = newWidth / newHeight;
  let cropWidth = width, cropHeight = height;
  if (width / height > ratio) cropWidth = ratio * height;
  else if (width / height < ratio) cropHeight = width / ratio;
  const left = (width - cropWidth) * 0.5, top = (height - cropHeight) * 0.5;
  if (newWidth !== width || left || cropWidth !== width) {
    rgb = resampleRows(rgb, width, height, weights(width, left, left + cropWidth, newWidth));
    width = newWidth;
  }
  if (newHeight !== height || top || cropHeight !== height) {
    rgb = resampleRows(transpose(rgb, width, height), height, width, weights(height, top, top + cropHeight, newHeight));
    rgb = transpose(rgb, newHeight, width);
  }
  return rgb;
}

/** RGB bytes of a decoded image: turned as its EXIF entry says, colours as stored, transparent parts white. */
export async function pixels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const { width, height } = bitmap, canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data, rgb = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4) for (let c = 0; c < 3; c++) rgb[o++] = rgba[i + c];
  return { rgb, width, height };
}

/** The network's input: float32 [1, 3, H, W], 0 to 1. */
export function tensorOf(rgb, [height, width]) {
  const out = new Float32Array(3 * height * width), plane = height * width;
  for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) out[c * plane + i] = rgb[i * 3 + c] / 255;
  return out;
}

/** Probabilities from logits. */
export function softmax(logits) {
  const top = Math.max(...logits), e = Array.from(logits, z => Math.exp(z - top)), sum = e.reduce((a, b) => a + b, 0);
  return e.map(v => v / sum);
}
