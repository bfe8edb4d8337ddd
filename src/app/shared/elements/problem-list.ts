// What went wrong, in sentences that stay until they are dismissed; and, folded away, what the ranks did last.

import { html, nothing } from 'lit';

export function problemList(problems: readonly string[], forget: (text: string) => void, operations = '') {
  if (!problems.length) return nothing;
  return html`<section class="problems" role="alert" aria-label="Problems">
    ${problems.map((text) => html`<div class="problem"><span>${text}</span><button aria-label="Dismiss this message" @click=${() => forget(text)}>Dismiss</button></div>`)}
    ${
      operations
        ? html`<details>
            <summary>The last operations of each rank</summary>
            <pre>${operations}</pre>
          </details>`
        : nothing
    }
  </section>`;
}
