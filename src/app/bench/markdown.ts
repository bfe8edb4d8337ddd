// A bench as Markdown, for an issue or a chat: where it ran, the ratios in one line per workload, then a table per
// workload with correctness beside each time.

import { summarise, summaryLine } from '../../bench/summary.ts';
import type { WorkloadResult } from '../../bench/run.ts';
import { compareRows, rowKey } from './comparison.ts';
import { digits, percent, spreadOf, timesText } from './numbers.ts';
import type { Report, Row } from './bench-file.ts';

export function formatMarkdown(report: Report, baseline?: { readonly name: string; readonly report: Report }): string {
  const { adapter, browser, date, ceilings, results, missing, cases, settings, end } = report;
  const compared = baseline && compareRows(report, baseline.report);
  const ratios = new Map(compared?.rows.map((row) => [rowKey(row), row.ratio]));
  const lines = [
    '### tabmesh bench',
    '',
    `- adapter: ${cell(adapter)}`,
    `- browser: ${cell(browser)}`,
    `- date: ${date}`,
    ...(settings ? [`- settings: \`#${settings}\``] : []),
    ...(end && end !== 'complete'
      ? [`- this run ${end === 'stopped' ? 'was stopped' : end === 'lost' ? 'lost its GPU' : 'failed'} before its end`]
      : []),
    ...(ceilings
      ? [
          `- ceilings measured: ${digits(Math.max(...Object.values(ceilings.bandwidth)))} GB/s, ${digits(ceilings.peakGflops)} GFLOP/s`,
        ]
      : []),
    ...summarise(results as readonly WorkloadResult[]).map((one) => `- ${summaryLine(one)}`),
    ...(compared
      ? [
          `- against ${cell(baseline.name)} (${cell(baseline.report.adapter)}, ${baseline.report.date}): ${compared.means.map(({ library, ratio }) => `${library} takes ${timesText(ratio)} the time`).join(', ') || 'no row in common'}`,
        ]
      : []),
  ];
  for (const workload of new Set([...results, ...missing].map((row) => row.workload))) {
    const header = [
      'shape',
      'library',
      'correct',
      'median ms',
      'spread',
      'GFLOP/s',
      'GB/s',
      'of roofline',
      'ratio',
      ...(compared ? ['against saved'] : []),
    ];
    lines.push('', `#### ${cell(workload)}`, '', row(header), row(header.map((_, i) => (i < 3 ? '---' : '---:'))));
    for (const one of results.filter((result) => result.workload === workload)) {
      const ratio = ratios.get(rowKey(one));
      lines.push(row([...cellsOf(one), ...(compared ? [ratio === undefined ? '' : timesText(ratio)] : [])]));
    }
    for (const { shape, library, reason } of missing.filter((one) => one.workload === workload))
      lines.push(row([shape, library, `none: ${reason}`, ...header.slice(3).map(() => '')]));
  }
  if (cases.length) {
    lines.push(
      '',
      '#### all kernels',
      '',
      `${cases.filter(({ correct }) => correct).length} of ${cases.length} contract cases correct`,
      '',
      row(['kernel', 'case', 'correct', 'median ms', 'GFLOP/s']),
      row(['---', '---', '---', '---:', '---:']),
    );
    for (const { workload, shape, correct, medianMs, gflops } of cases)
      lines.push(row([workload, shape, correct ? 'yes' : '**NO**', digits(medianMs), digits(gflops)]));
  }
  return `${lines.join('\n')}\n`;
}

function cellsOf(result: Row): string[] {
  const { shape, library, correct, medianMs, gflops, gbps, roofline, ratio } = result;
  const spread = spreadOf(result);
  return [
    shape,
    library,
    correct ? 'yes' : '**NO**',
    digits(medianMs),
    spread === undefined ? '' : percent(spread),
    digits(gflops),
    gbps === undefined ? '' : digits(gbps),
    roofline === undefined || roofline === null ? '' : percent(roofline),
    ratio === undefined || ratio === null ? '' : timesText(ratio),
  ];
}

function row(cells: readonly string[]): string {
  return `| ${cells.map(cell).join(' | ')} |`;
}

/** A bar would end a cell, a line break the table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();
}
