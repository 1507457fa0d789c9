/** Text panel. */
import { type PanelProps, renderTextPanelMarkdown, textUtil } from '@grafana/data';

interface Options {
  mode?: 'html' | 'markdown' | 'code';
  content?: string;
}

export function TextPanel({ options, replaceVariables }: PanelProps<Options>) {
  const text = replaceVariables(options.content ?? '');
  if (options.mode === 'code') return <pre>{text}</pre>;
  const html =
    options.mode === 'html'
      ? textUtil.sanitizeTextPanelContent(text)
      : renderTextPanelMarkdown(text);
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}
