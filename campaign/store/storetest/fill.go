package storetest

import (
	"encoding"
	"fmt"
	"reflect"
	"time"
)

// fill sets every member of the struct that v points to, however deep, to a value of its own. A kind of member that it
// does not know is an error, so that a new one can't go untested.
func fill(v any) error {
	n := 0
	return fillValue(reflect.ValueOf(v).Elem(), &n)
}

func fillValue(v reflect.Value, n *int) error {
	*n++
	if _, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(*n) * time.Millisecond)))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && v.Kind() == reflect.Struct {
		return u.UnmarshalText(fmt.Appendf(nil, "id-%d", *n))
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 251))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	case reflect.Array:
		return fillEach(v, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		return fillEach(v, n)
	case reflect.Map:
		return fillMap(v, n)
	case reflect.Struct:
		for i := range v.NumField() {
			if err := fillValue(v.Field(i), n); err != nil {
				return fmt.Errorf("%s: %w", v.Type().Field(i).Name, err)
			}
		}
	default:
		return fmt.Errorf("can't fill a %s", v.Type())
	}
	return nil
}

func fillEach(v reflect.Value, n *int) error {
	for i := range v.Len() {
		if err := fillValue(v.Index(i), n); err != nil {
			return err
		}
	}
	return nil
}

func fillMap(v reflect.Value, n *int) error {
	v.Set(reflect.MakeMap(v.Type()))
	for range 3 {
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := fillValue(key, n); err != nil {
			return err
		}
		if err := fillValue(val, n); err != nil {
			return err
		}
		v.SetMapIndex(key, val)
	}
	return nil
}

// variants returns a filled T and, for each of its members, one where only that member is filled and one where only it
// is not. name puts the record's identifier back in.
func variants[T any](name func(*T)) (vs []T, err error) {
	var full T
	if err := fill(&full); err != nil {
		return nil, err
	}
	add := func(v T) {
		name(&v)
		vs = append(vs, v)
	}
	add(full)
	from := reflect.ValueOf(&full).Elem()
	for i := range from.NumField() {
		var one T
		reflect.ValueOf(&one).Elem().Field(i).Set(from.Field(i))
		add(one)
		rest := full
		reflect.ValueOf(&rest).Elem().Field(i).SetZero()
		add(rest)
	}
	return vs, nil
}
