import { netTopic } from './net/topic.ts';
import { parseReportOf, type Report } from './results.ts';
import { storageTopic } from './storage/topic.ts';
import type { Topic } from './topic.ts';

const TOPICS: readonly Topic[] = [storageTopic, netTopic];

/** The benchmark that a report is of. Throws RangeError where it is of none. */
export function topicOf({ schema }: Report): Topic {
  const topic = TOPICS.find(({ reportSchema }) => reportSchema === schema);
  if (topic === undefined) throw new RangeError(`there is no benchmark of schema ${schema}`);
  return topic;
}

/** The benchmark that a comparison is of. Throws RangeError where it is of none. */
export function comparisonTopicOf({ schema }: { readonly schema: string }): Topic {
  const topic = TOPICS.find(({ comparisonSchema }) => comparisonSchema === schema);
  if (topic === undefined) throw new RangeError(`there is no benchmark of schema ${schema}`);
  return topic;
}

/**
 * Reads a report's JSON text, of any benchmark. Throws KenshoError BAD_REPORT where it is none.
 *
 * @param name - of the file, for the error
 */
export function parseReport(text: string, name: string): Report {
  return parseReportOf(
    TOPICS.map(({ reportSchema }) => reportSchema),
    text,
    name,
  );
}
