import { html, LitElement } from 'lit';
import type { PageSettings } from '../fragment.ts';
import type { PageState, RunController } from '../run-controller.ts';
export class TabmeshApp extends LitElement {
  static override properties = { state: { attribute: false } };
  declare state: PageState | undefined;
  settings: PageSettings | undefined;
  controller: RunController | undefined;
  ownHash = '';
  override render() { return html`${this.state?.phase} ${this.state?.status} ${this.state?.problems.join(' | ')}`; }
}
customElements.define('tabmesh-app', TabmeshApp);
