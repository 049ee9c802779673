import type { BlockFile } from '../block-file.ts';
import { readFooter } from './footer.ts';
import { readBlocks, type VhdBlocks } from './image.ts';
import { FOOTER_BYTES } from './layout.ts';
import { bitmapBytesOf } from './vhd-layout.ts';

/** Lines after which a check of a badly damaged image stops. */
const MAX_PROBLEMS = 20;

/**
 * Checks an image's structures. Where the file may be written, a missing footer, or its copy, is written again from
 * the other one. Throws what opening the image throws where it cannot be read at all.
 */
export async function checkVhd(file: BlockFile): Promise<{ problems: string[]; repaired: string[] }> {
  const problems: string[] = [];
  const repaired: string[] = [];
  const footer = await readFooter(file);
  const blocks = await readBlocks(file, footer);
  if (blocks === undefined) {
    if (footer.sizeBytes + FOOTER_BYTES > file.sizeBytes) {
      problems.push(`the file has ${file.sizeBytes} bytes, too few for a disk of ${footer.sizeBytes}`);
    }
    return { problems, repaired };
  }
  const { header, table } = blocks;
  problems.push(
    ...table.validate(header, file.sizeBytes, MAX_PROBLEMS),
    ...overlaps(blocks).slice(0, MAX_PROBLEMS),
  );
  for (const place of footer.missing) {
    if (file.readOnly || problems.length > 0) {
      problems.push(`the footer at the ${place} is missing or damaged`);
      continue;
    }
    const offset = place === 'start' ? 0 : table.dataEnd(header, header.endBytes);
    if (place === 'end') await file.truncate(offset);
    await file.write(offset, [footer.bytes]);
    await file.flush();
    repaired.push(`wrote the footer at the ${place} again`);
  }
  return { problems, repaired };
}

function overlaps({ header, table }: VhdBlocks): string[] {
  const lengthBytes = bitmapBytesOf(header.blockBytes) + header.blockBytes;
  const blocks: { block: number; offset: number }[] = [];
  for (let block = 0; block < table.entryCount; block++) {
    const offset = table.offset(block);
    if (offset >= 0) blocks.push({ block, offset });
  }
  blocks.sort((a, b) => a.offset - b.offset);
  const problems: string[] = [];
  blocks.forEach(({ block, offset }, index) => {
    if (offset < header.endBytes) problems.push(`block ${block} overlaps the headers`);
    const before = blocks[index - 1];
    if (before !== undefined && before.offset + lengthBytes > offset) {
      problems.push(`block ${block} overlaps block ${before.block}`);
    }
  });
  return problems;
}
