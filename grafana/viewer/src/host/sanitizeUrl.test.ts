import { textUtil } from '@grafana/data';
import { expect, test } from 'vitest';

test.each([
  '/user/d/svc-db/?var-job=a%2Bb%20%26%20%23c%25&x=1',
  'https://traces.example/trace/1?q=%2F%26',
  '?var-job=%22',
])('a link to %s stays as it is', (url) => expect(textUtil.sanitizeUrl(url)).toBe(url));

test.each(['javascript:alert(1)', ' java\nscript:alert(1)', 'data:text/html,x', 'vbscript:x', ''])(
  'a link to "%s" leads nowhere',
  (url) => expect(textUtil.sanitizeUrl(url)).toBe('about:blank'),
);
