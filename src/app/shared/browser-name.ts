// The browser as people call it, with its whole version where it tells: 'Chrome 150.0.7871.46 on Linux'.

interface Brand {
  readonly brand: string;
  readonly version: string;
}
export interface UserAgentData {
  readonly platform?: string;
  getHighEntropyValues(
    hints: readonly string[],
  ): Promise<{ readonly fullVersionList?: readonly Brand[]; readonly platform?: string }>;
}

export async function browserName({
  userAgent,
  userAgentData,
}: {
  readonly userAgent: string;
  readonly userAgentData?: UserAgentData;
}): Promise<string> {
  const told = await userAgentData?.getHighEntropyValues(['fullVersionList', 'platform']).catch(() => undefined);
  const brands = (told?.fullVersionList ?? []).filter(({ brand }) => !/not.?a.?brand/i.test(brand));
  // Every Chromium names itself beside the product that it is part of.
  const product = brands.find(({ brand }) => brand !== 'Chromium') ?? brands[0];
  const platform = told?.platform || platformOf(userAgent);
  if (product) return `${product.brand} ${product.version}${platform ? ` on ${platform}` : ''}`;
  const known = (
    [
      ['Firefox', /Firefox\/([\d.]+)/],
      ['Edge', /Edg\/([\d.]+)/],
      ['Chrome', /Chrome\/([\d.]+)/],
      ['Safari', /Version\/([\d.]+).*Safari/],
    ] as const
  )
    .map(([name, pattern]) => [name, pattern.exec(userAgent)?.[1]] as const)
    .find(([, version]) => version !== undefined);
  return known ? `${known[0]} ${known[1]}${platform ? ` on ${platform}` : ''}` : userAgent;
}

function platformOf(userAgent: string): string {
  return (
    (
      [
        ['Android', /Android/],
        ['iOS', /iPhone|iPad/],
        ['macOS', /Mac OS X/],
        ['Windows', /Windows/],
        ['ChromeOS', /CrOS/],
        ['Linux', /Linux/],
      ] as const
    ).find(([, pattern]) => pattern.test(userAgent))?.[0] ?? ''
  );
}
