// The prebuilt bundle of simple-peer needs no Node polyfills in the browser; its types are those of the package.
declare module 'simple-peer/simplepeer.min.js' {
  import SimplePeer from 'simple-peer';
  export default SimplePeer;
}
