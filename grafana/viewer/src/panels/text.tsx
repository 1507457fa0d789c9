/** Words. */
import { type PanelProps, renderTextPanelMarkdown, textUtil } from '@grafana/data';

interface Options {
  mode?: 'html' | 'markdown' | 'code';
  content?: string;
}

export function TextPanel({ options, replaceVariables }: PanelProps<Options>) {
  const words = replaceVariables(options.content ?? '');
  if (options.mode === 'code') return <pre>{words}</pre>;
  const html =
    options.mode === 'html'
      ? textUtil.sanitizeTextPanelContent(words)
      : renderTextPanelMarkdown(words);
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}
