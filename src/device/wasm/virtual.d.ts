// From plugin.mjs: the compiled kernels in base64.
declare module 'virtual:wasm-kernels/*' {
  const encoded: string;
  export default encoded;
}
