// A number of bytes for people, in decimal units and about three digits: '999 B', '1.5 kB', '60 MB'.

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const [unit, divisor] = bytes < 999_500 ? ['kB', 1e3] : bytes < 999_500_000 ? ['MB', 1e6] : ['GB', 1e9];
  const value = bytes / (divisor as number);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
