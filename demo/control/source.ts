/**
 * The data: media types and the extensions of their files, from mime-db; time zones, as this Node knows them.
 */
import mimeDb from 'mime-db/db.json' with { type: 'json' };

type Value = string | number | null;
export type Row = Readonly<Record<string, Value>>;

export interface Table {
  readonly family: string;
  readonly name: string;
  readonly fields: readonly (readonly [name: string, type: string])[];
  readonly key: readonly string[];
  readonly rows: readonly Row[];
}

export const keyOf = (row: Row, key: readonly string[]): string[] => key.map((name) => String(row[name]));

interface MediaType {
  readonly source?: string;
  readonly charset?: string;
  readonly compressible?: boolean;
  readonly extensions?: readonly string[];
}

export function tables(): Table[] {
  const types = Object.entries(mimeDb as Readonly<Record<string, MediaType>>);
  return [
    {
      ...{ family: 'mime', name: 'types', key: ['type'] },
      fields: [
        ['type', 'string'],
        ['source', 'string'],
        ['charset', 'string'],
        ['compressible', 'integer'],
        ['extensions', 'integer'],
      ],
      rows: types.map(([type, { source = null, charset = null, compressible, extensions = [] }]) => ({
        ...{ type, source, charset, extensions: extensions.length },
        compressible: compressible === undefined ? null : Number(compressible),
      })),
    },
    {
      ...{ family: 'mime', name: 'extensions', key: ['extension', 'type'] },
      fields: [
        ['extension', 'string'],
        ['type', 'string'],
        ['place', 'integer'],
      ],
      rows: types.flatMap(([type, { extensions = [] }]) =>
        Array.from(new Set(extensions), (extension, place) => ({ extension, type, place })),
      ),
    },
    {
      ...{ family: 'clock', name: 'zones', key: ['zone'] },
      fields: [
        ['zone', 'string'],
        ['region', 'string'],
        ['name', 'text'],
      ],
      rows: Intl.supportedValuesOf('timeZone').map((zone) => ({
        ...{ zone, region: zone.split('/', 1)[0] ?? '' },
        name: longName(zone),
      })),
    },
  ];
}

function longName(timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en', { timeZone, timeZoneName: 'long' }).formatToParts(0);
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}
