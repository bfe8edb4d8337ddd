// A question that the run waits for, with its two answers.

import { html, nothing } from 'lit';

export function question(text: string | undefined, answer: (agreed: boolean) => void) {
  if (text === undefined) return nothing;
  return html`<section class="card" role="alertdialog" aria-label="Question">
    <p>${text}</p>
    <div class="row">
      <button class="primary" @click=${() => answer(true)}>Download</button
      ><button @click=${() => answer(false)}>No</button>
    </div>
  </section>`;
}
