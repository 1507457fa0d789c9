/** Turns the variables of a board into scene variables. */
import {
  ConstantVariable,
  CustomVariable,
  IntervalVariable,
  QueryVariable,
  type SceneVariable,
  TextBoxVariable,
  type VariableValue,
} from '@grafana/scenes';
import { type VariableModel, VariableHide } from '@grafana/schema';
import { DATASOURCE } from '../prometheus/datasource';

/** The current value: a list for multi-value variables. */
export function currentValue({ current, multi }: VariableModel): VariableValue {
  const value = current?.value;
  if (value === undefined) return multi ? [] : '';
  return multi && !Array.isArray(value) ? [value] : value;
}

function queryText({ query }: VariableModel): string {
  if (typeof query === 'string') return query;
  return typeof query?.query === 'string' ? query.query : '';
}

/** A variable of a board; throws for unsupported types. */
export function variable(model: VariableModel): SceneVariable {
  const { name, label, description } = model;
  const common = {
    name,
    label: label ?? undefined,
    description: description ?? undefined,
    hide: model.hide ?? VariableHide.dontHide,
  };
  const choice = {
    ...common,
    value: currentValue(model),
    text: (model.current?.text ?? '') as VariableValue,
    isMulti: model.multi ?? false,
    includeAll: model.includeAll ?? false,
    allValue: model.allValue ?? undefined,
  };
  switch (model.type) {
    case 'query':
      return new QueryVariable({
        ...choice,
        datasource: DATASOURCE,
        query: queryText(model),
        regex: model.regex ?? '',
        refresh: model.refresh,
        sort: model.sort,
      });
    case 'datasource': {
      // There is only one data source, so the variable is hidden.
      const only = { ...common, hide: VariableHide.hideVariable, query: DATASOURCE.uid };
      return new CustomVariable({ ...only, value: DATASOURCE.uid, text: DATASOURCE.uid });
    }
    case 'custom':
      return new CustomVariable({ ...choice, query: queryText(model) });
    case 'interval':
      return new IntervalVariable({
        ...common,
        value: String(model.current?.value ?? ''),
        intervals: queryText(model)
          .split(',')
          .map((text) => text.trim()),
      });
    case 'textbox':
      return new TextBoxVariable({ ...common, value: queryText(model) });
    case 'constant':
      return new ConstantVariable({ ...common, value: queryText(model) });
    default:
      throw new Error(`variable ${name}: type "${model.type}" is not supported`);
  }
}
