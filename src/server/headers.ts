// The headers of every answer. Pages run no inline script, no text as code and nothing of other sites; they may open
// web sockets anywhere, because a link may name a broker. They are isolated from pages of other sites
// (crossOriginIsolated).

/**
 * WebAssembly is compiled by ONNX Runtime on the bench page alone; a worker goes by the headers of its own script, so
 * scripts allow it as well.
 */
function policyOf(wasm: boolean): string {
  return [
    "default-src 'none'",
    `script-src 'self'${wasm ? " 'wasm-unsafe-eval'" : ''}`,
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self' ws: wss:",
    "worker-src 'self'",
    "frame-src 'self'",
    "frame-ancestors 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

const [STRICT, WITH_WASM] = [policyOf(false), policyOf(true)];

/** @param path of the answer below the base, such as 'bench.html'. */
export function securityHeaders(path: string): Readonly<Record<string, string>> {
  return {
    'content-security-policy': /^(bench\.html|driven\.html|assets\/)/.test(path) ? WITH_WASM : STRICT,
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'cross-origin-resource-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  };
}
