import { inflateRawSync } from 'node:zlib';
import { MemoryFile } from '../memory-file.ts';

/**
 * Images that qemu-img and qemu-io 7.2 wrote, as the sectors of 512 bytes that are not zero: each after its index,
 * compressed. They are 20 MiB large and hold 0xa1 at 64 KiB (4 KiB), 0xb2 at 5 MiB (512 bytes) and 0xc3 at 10,484,736
 * (2 KiB, across a block's end); the fixed ones are smaller and hold the first of these, as does the one whose writer
 * was killed between the log and the place that it was for.
 */
interface StoredImage {
  readonly sizeBytes: number;
  readonly sectors: string;
}

export const qemuImages = {
  vhdByGeometry: {
    sizeBytes: 8393216,
    sectors:
      '7dq9asJQGMbxx3wcLQXRrWMGJ6eQuYP0DpxacJKQQWzrVwtZdOuHtXRz6FgQXMW9kxfgpbh0PyUkXoQ+z295Idly/ucEQgAg' +
      'Hjwm8VMvBeCghIKDaDltj5KHZ/hwb3tRP7taat3hOJ2OVwfgWnvwrpub7/XspvG1N6vdqPoLORnZksfpZNgdTxJbyO8YFD1c' +
      'IgCs/bvX0zpPbj68fO1rfj4DA4RlKxQ8ZHtcmL0A+BFqr2qA3psaoPeuBujN1QC9DzVAb6EG6H2qAXp+Td+I2JkrYCvUTKBz' +
      'gJ0fAjuhZtQAvXKodwG7is4BehdqgF6lpf8J2f0D',
  },
  vhdDynamic: {
    sizeBytes: 8393216,
    sectors:
      '7do/T8JAHMbxB8od4NSExY1uLA5Nd5PObk7OpOlA5J/iwAKbgMqIL4C34CKTi2/CyRdg4uZ+5HJ9E/I8n+WX9Lbet9ekKQAU' +
      'k3FZPAzmAOqooVJH9rq4vitHGQyim0F266/W8rDqp3OxAxA599u7+L78yHdX3cPQdJY/X++Qf8NveTGfTfv3s9JVwopF1cMZ' +
      'Er/ffyPdrdMUhdEIex+bMBMLpE0nFBrwz7gwewSwF2orNUBvrQbobdQAvSc1QO9ZDdB7UQP0tmqAnon1jYidPQfehJpNdA6w' +
      'MynwKdSsGqDXTPUuYNfSOUCvrQbotXL9T8juCA==',
  },
  vhdFixed: {
    sizeBytes: 262656,
    sectors:
      'a2BgYFg4CkY0aBxNAyMeNI2mgREPmkfTwIgHLaNpYMSD1tE0MOJB22gaGPGgfTQNjHjAwMTAkJyfl5pcklnBwMDAxMDIwPAf' +
      'Coym1gYWpuYaMbAyMIdnGmUzgAALAwOM/v9f4D9Iz///z3hl55j1Kn9yuT+f71y7T1WyKcMoGDIAAA==',
  },
  vhdxDynamic: {
    sizeBytes: 12582912,
    sectors:
      '7ZlrSFNhHMaf42XMCjb70sisgUOim0OlGX5o2vGSMUTJNMRstDmH2vKCJhV46SJaZClIVqCGYFmgRrKkpiQmCkoX0vCTnywJ' +
      '0SQqjCx2doaXSogS3N7/Dw4vnOec8+E9z/s87+EAQGGm4XSGOduYgCjokAQlCqHBHgQLRzAI96YEQKZRbwg0ZSiSd8pq7efe' +
      'px1+YlFHtz/onJracYY3x1dtGLFtPph4VZO63paqC/31KRwAuXgQLgfn8ED+QHtbyh88MBpQ2TJyTVd8+XFqjfr6uIo84GY5' +
      'wAF5RpO5fNiyy0M8l1H0bHfAZ0TeNvgeu/k9TgooRcXxjiVNZ6uqY+oPWeeT071lFScB9RKdcDE8yAPMIwWyLSbj5IfXX5yv' +
      'msPSccupp/cT+6JetQaG7rtifsEB1aLiGA3G/BOCN4TdhR3lkvuJNW4BKWDQF+jFSMBaHInVRSalOWD8kwBysQtmh49OCxGu' +
      'XFh/ziw/VxleYn3Ov6z/um5rXpwpAWgQlYYVu4DWsWug+IsukIj9T13gXmyjLmD9sxBKsQusfiGlQoRrAc9lXfAxTNM0Wqet' +
      '7ea5ovCxrCqgTVTaVuwCT5pil2D7f+wCibg/oC5wLYKoC5jGntVqsQty+EdjQoQfB7yWdQGn8m970xzxrSwpt99SxMuAHlHp' +
      'WbELvGiKXYKwVegCibhPoC5wDfZTFzCNkNXyhQynHGAUBZBjLNA7+sD7t5doTI2De+cO6B52hszc499l2XcK0kV9r4psDvIb' +
      'Kozt8E2zvQ3/ZJWKukTUWzcO2iY6AqJqpnt9xtEfLQcn/GF06v7dEaWWuz4xXTGzIS1zrelKcMKznXp/7J2hND6XvzUwWZGY' +
      '0HdEtUwn/o0SBRb989UK20DLjZHouk3xM+0TxmLfuC6ZsCBpUbqvB7RAI8E0peQB5ikjDzBPOXmAec6TB5jnAnmAeS6SB5jn' +
      'EnmAeRALdBBMM58M9BJM84M8wDxIIQ+wDkceYJ6f',
  },
  vhdxFixed: {
    sizeBytes: 11534336,
    sectors:
      'Y2BgYCjLSKlIy8xJDWRwZfBlCGVQYChjMGfQYzACYyOGUTC8QQMDA0NGamIK75k90+WOzxAHifWc2c/644rjqaXs4WpXTLhW' +
      'XV1V9OSVtvOStW+/XTiXdNcX0xRGBgYGASgeBUMOMELSwLQJonnyONKA05azd4vveWn2HhNXeD+Fcc5oGhhm5QAjA0NRanpm' +
      '87l8HSaoWFr5IV3lbwxOc1ME42b/9eJgYFCAykDimG1RTfcE91neO/6Fx7Pyd+QxMBigyI+CIQaYRtPAiAccDAw5+empNfIZ' +
      'b2FRzciASt9U13p4J93z9TI+xVqpc7YcDAwboDIQOiW1OBmcNhgWQMUVUPSPgkGeBDgYGFISSxKhRcIoGIGAn2M0DEZ4lwBc' +
      'hcPK8NFyYIQCCQaG3NSSREh9wIpViXn6wlNmv5x9N28z/rDK5Xk2KPWAig8WqLyK01J96bNlHpsEY/fdsP6ygwMqzwaVXy10' +
      'at+zTcquk98f5nzAcNxNgIER3HqEycvud2zMX8npvsv9k/GKX6vjFRgYwWbD5I97LD4b61LoMufky46gwKNhKmjyo4DCvqEE' +
      'pDBgRGrLLfraueKZiI/req/zd2Z1dJ4HFxCjhcTwTQMBDAwLR8GIBo2jaWDEg6bRNDDiQfNoGhjxoGU0DYx40DqaBkY8aBtN' +
      'AyMetI+mgREPAA==',
  },
  vhdxWithLog: {
    sizeBytes: 9437184,
    sectors:
      'Y2BgYCjLSKlIy8xJDWRwZfBlCGVQYChjMGfQYzACYyOGUTC8QQMDA0NGamLK3MnJCR3FhQEgMb+4TrOzXl6e2zYdSHDaeKzv' +
      'G8er9LD1zg1zzywLOxwemJP7sfLXhg/+B9eWfDVe6fKxmYGBkYGBQQCKR8GQA4yQNKBxriOuE0cakD9zhmcDlwPL4vkne6bO' +
      'XMk9mgaGWTnAyMBQlJqe2XwuX4cJKpZWfkhX+RuD09wUwbjZf704GBgUoDKQOGZbVNM9wX2W945/4fGs/B15DAwGKPKjYIgB' +
      'ptE0MOIBBwNDTn56asOagk5YVDMyoNKYZf8EqAyETkktTganDXDrAgQUUPSPgkGeBDgYGFISSxKhRQLDYKRHAW0BP8doGIzw' +
      'LgG4Ch+s+X+0HKATkGBgyE0tSYTUB6xYlZinLzxl9svZd/M24w+rXJ5ng1IPqPhggcqrOC3Vlz5b5rFJMHbfDesvOzig8mxQ' +
      '+dVCp/Y926TsOvn9Yc4HDMfdBBgYwa1HmLzsfsfG/JWc7rvcPxmv+LU6XoGBEWw2TP64x+KzsS6FLnNOvuwICjwapoImPwoo' +
      '7BtKILfnHcBFw1lZ/53LjrnfXB6tFa7f/eY4OEOOZsrhmwYcGBgWjoIRDRpH08CIB02jaWDEg+bRNDDiQctoGhjxoHU0DYx4' +
      '0DaaBkY8aB9NAyMeAAA=',
  },
} as const satisfies Record<string, StoredImage>;

const SECTOR_BYTES = 512;

/** The whole image. */
export function qemuImage(name: keyof typeof qemuImages): MemoryFile {
  const { sizeBytes, sectors } = qemuImages[name];
  const file = new MemoryFile(sizeBytes, { name });
  const packed = inflateRawSync(Buffer.from(sectors, 'base64'));
  for (let at = 0; at < packed.length; at += 4 + SECTOR_BYTES) {
    file.write(packed.readUInt32LE(at) * SECTOR_BYTES, [packed.subarray(at + 4, at + 4 + SECTOR_BYTES)]);
  }
  return file;
}
